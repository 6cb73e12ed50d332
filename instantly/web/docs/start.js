"use strict";

/* The browser must not remember what is typed: a key, for one. */
const withoutMemory = (Input, { React }) => (properties) =>
  React.createElement(Input, { ...properties, autoComplete: "off" });

const page = SwaggerUIBundle({
  dom_id: "#docs",
  url: "openapi.json",
  validatorUrl: null,
  persistAuthorization: false,
  defaultModelsExpandDepth: 0,
  plugins: [{ wrapComponents: { Input: withoutMemory } }],
});

/* Whoever comes back to the page types the key again. */
addEventListener("pagehide", () => page.authActions.logout(["apiKey", "bearer"]));
