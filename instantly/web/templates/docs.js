"use strict";

const SHOWN_HEADERS = ["content-type", "x-request-id", "retry-after", "idempotent-replayed"];
const key = document.getElementById("key");

/* What a form asks for. The key is not part of it. */
function requestOf(form) {
  const { method } = form.dataset;
  const headers = {};
  const query = new URLSearchParams();
  let path = form.dataset.path;
  for (const { name, value, dataset } of form.querySelectorAll("[data-in]")) {
    if (dataset.in === "path") path = path.replace(`{${name}}`, () => encodeURIComponent(value));
    else if (value && dataset.in === "query") query.set(name, value);
    else if (value) headers[name] = value;
  }
  const body = form.querySelector("textarea")?.value;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const url = new URL(`.${path}`, location.href);
  url.search = query;
  return { method, url, headers, body };
}

function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function curlOf(form) {
  const { method, url, headers, body } = requestOf(form);
  const words = [`curl -sS -X ${method} ${quoted(url.href)}`];
  if (needsKey(form)) words.push('-H "X-API-Key: $API_KEY"');
  for (const [name, value] of Object.entries(headers)) {
    const isSecret = form.elements[name]?.type === "password";
    words.push(isSecret ? `-H "${name}: $SECRET"` : `-H ${quoted(`${name}: ${value}`)}`);
  }
  if (body !== undefined) words.push(`--data-raw ${quoted(body)}`);
  return words.join(" \\\n  ");
}

function needsKey(form) {
  return "needsKey" in form.dataset;
}

/* JSON over several lines, its numbers as they came; any other text as it is. */
function pretty(text, type) {
  if (!type.startsWith("application/json")) return text;
  const asSent = (_, value, context) =>
    typeof value === "number" && JSON.rawJSON && context ? JSON.rawJSON(context.source) : value;
  try {
    return JSON.stringify(JSON.parse(text, asSent), null, 2);
  } catch {
    return text;
  }
}

/* Whatever came back is text to the page, and never HTML. */
function show(form, status, headers = "", body = "") {
  form.querySelector(".status").textContent = status;
  for (const [selector, text] of [[".headers", headers], [".body", body]]) {
    const place = form.querySelector(selector);
    place.textContent = text;
    place.hidden = !text;
  }
}

async function send(form) {
  const { method, url, headers, body } = requestOf(form);
  if (needsKey(form)) {
    if (!key.value) {
      show(form, "This route needs your key: type it at the top of the page.");
      key.focus();
      return;
    }
    headers["X-API-Key"] = key.value;
  }
  const button = form.querySelector("button");
  button.disabled = true;
  show(form, "Waiting for the answer …");
  const began = performance.now();
  try {
    const answer = await fetch(url, {
      method, headers, body,
      mode: "same-origin", credentials: "omit", redirect: "error", cache: "no-store",
    });
    const text = await answer.text();
    const milliseconds = Math.round(performance.now() - began);
    const shown = SHOWN_HEADERS.filter((name) => answer.headers.has(name));
    show(
      form,
      `${answer.status} ${answer.statusText} · ${milliseconds} ms`,
      shown.map((name) => `${name}: ${answer.headers.get(name)}`).join("\n"),
      pretty(text, answer.headers.get("content-type") ?? ""),
    );
  } catch (error) {
    show(form, `No answer: ${error.message}`);
  }
  button.disabled = false;
  const sure = form.querySelector("[type=checkbox]");
  if (sure) sure.checked = false;
}

for (const form of document.forms) {
  const curl = form.querySelector(".curl");
  const refresh = () => { curl.textContent = curlOf(form); };
  form.addEventListener("input", refresh);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(form);
  });
  refresh();
}

/* A link to a route or a shape opens it. */
function reveal() {
  const target = document.getElementById(location.hash.slice(1));
  if (target instanceof HTMLDetailsElement) target.open = true;
}
addEventListener("hashchange", reveal);
reveal();

/* Who comes back to the page types the key again. */
addEventListener("pagehide", () => { key.value = ""; });
