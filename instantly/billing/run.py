"""The billed run: created first, its costs logged, completed or failed, work undone on failure.

`with billed_run(...) as run:` opens the run before anything is done. Inside, each step that leaves
something behind first says how to take it back (`run.on_failure`). When the block ends, the cost is
logged and the run completed; when anything in it raises, the steps are taken back in reverse, the
run ends as `failed`, and the first error goes on to the caller.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

from flask import Response, current_app
from flask.typing import ResponseReturnValue
from psycopg import OperationalError

from instantly.billing.idempotency import claimed_key
from instantly.clients.http import UpstreamError
from instantly.clients.runs import RunsServiceError
from instantly.metrics import BILLED, LEFT_OVER
from instantly.storage.leases import Busy, Lease
from instantly.storage.pool import NotConnected, Row
from instantly.storage.statements import Runner
from instantly.web.context import database, services
from instantly.web.errors import RETRY_AFTER_SECONDS, ApiError

LEASE_SECONDS = 20
DATABASE_PAUSES_SECONDS = (0.2, 1.0, 3.0)

logger = logging.getLogger(__name__)


class RunEnded(ApiError):
    def __init__(self) -> None:
        super().__init__(
            503, "The run has ended meanwhile", retry_after_seconds=RETRY_AFTER_SECONDS
        )


class BilledRun:
    """A run under way. `id` is that of runs-service (uuid)."""

    def __init__(self, run_id: str) -> None:
        self.id = run_id
        self.cost: tuple[str, int] | None = None
        self._undo: list[tuple[object, Callable[[], object]]] = []

    def on_failure(self, what: object, undo: Callable[[], object]) -> None:
        """Remembers how to take a step back; `what`, as a text, names it and its ids then."""
        self._undo.append((what, undo))

    def bill(self, cost_name: str, quantity: int) -> None:
        """What the act costs; nothing is logged when the quantity is 0."""
        self.cost = (cost_name, quantity) if quantity else None

    def store(
        self,
        statement: str,
        answer: Callable[[Row], ResponseReturnValue],
        *,
        undo: str,
        **values: Any,
    ) -> Response:
        """Runs the statement that stores the act; keeps its answer under the idempotency key.

        Both are there, or neither: should the process die before the end, a repeat gets the answer.
        The statement stores and answers nothing once the run has ended, which raises RunEnded, or
        the lock is lost, which raises Busy. That holds for one that the server does after we gave
        it up, too. `undo` is the statement that takes the rows back.
        """
        key = claimed_key()

        def take_back() -> None:
            database().execute("update_open_run_outcome", run_id=self.id, outcome="failed")
            if key:
                key.forget()
            database().execute(undo, run_id=self.id, **values)

        is_stored = True
        scope: AbstractContextManager[Runner] = (
            database().transaction() if key else nullcontext(database())
        )
        try:
            with scope as runner:
                row = runner.fetch_one(statement, run_id=self.id, **values)
                if row is None:
                    is_open = runner.fetch_one("select_open_run", run_id=self.id)
                    raise Busy if is_open else RunEnded
                response = current_app.make_response(answer(row))
                if key:
                    key.keep(runner, response, is_final=False)
        except NotConnected:
            is_stored = False
            raise
        finally:
            # After any other failure the rows may be there: the answer to a COMMIT can be lost.
            if is_stored:
                self.on_failure(f"{undo} for run {self.id}", take_back)
        return response

    def take_back(self) -> None:
        """Undoes the steps, the last one first.

        If our rows cannot be deleted, stop: what they describe must stay in Instantly.
        """
        while self._undo:
            what, undo = self._undo.pop()
            step = partial(retry_while_database_is_away, undo)
            if isinstance(log_failure_of(what, step), OperationalError):
                for left, _ in self._undo:
                    report_left_over(left)
                return


@contextmanager
def billed_run(subject: str, task_name: str, **fields: Any) -> Iterator[BilledRun]:
    """`subject` says what the run is about, should its process die; `fields` are create_run's."""
    try:
        run_id = services().runs.create_run(task_name=task_name, **fields)
    except RunsServiceError as error:
        if error.may_have_acted:
            report_left_over(f"runs-service may hold an open run for {subject}")
        raise
    run = BilledRun(run_id)
    lease = Lease(f"run:{run.id}", LEASE_SECONDS)
    with services().leases.renewing(lease):
        try:
            database().execute(
                "insert_open_run",
                **lease.values,
                seconds=lease.seconds,
                run_id=run.id,
                task_name=task_name,
                subject=subject,
            )
            yield run
            if run.cost:
                cost_name, quantity = run.cost
                log_cost(run.id, cost_name, quantity)
                BILLED[cost_name].inc(quantity)
        except BaseException as error:
            run.take_back()
            end_run(run.id, "failed", reason_of(error))
            raise
        # The work is done and billed: an error now would only invite a second act.
        end_run(run.id, "completed")


def reason_of(error: BaseException) -> str:
    """What runs-service is told; a database's words may name hosts and users."""
    name = type(error).__name__
    return f"{name}: {error.message}" if isinstance(error, UpstreamError) else name


def log_cost(run_id: str, cost_name: str, quantity: int) -> None:
    try:
        services().runs.add_costs(run_id, cost_name, quantity)
    except RunsServiceError as error:
        if error.may_have_acted:
            report_left_over(f"run {run_id} may hold {cost_name} times {quantity}")
        raise


def end_run(run_id: str, outcome: str, error: str | None = None) -> None:
    """Tells runs-service; what it could not be told is left to `python -m instantly.cleanup`."""
    # Remembered first: should the process die meanwhile, what is done does not end as failed.
    update_open_run("update_open_run_outcome", run_id=run_id, outcome=outcome)
    failure = log_failure_of(
        f"run {run_id}: end as {outcome}", lambda: services().runs.end_run(run_id, outcome, error)
    )
    if failure is None:
        update_open_run("delete_open_run", run_id=run_id, name=f"run:{run_id}")


def update_open_run(statement: str, **values: str) -> None:
    """Keeps our own list of open runs; a row that stays behind is what the cleanup is for."""
    try:
        database().execute(statement, **values)
    except OperationalError:
        logger.warning("open runs: %s failed for run %s", statement, values["run_id"])


def retry_while_database_is_away(step: Callable[[], object]) -> None:
    """Does a step again while the database is away, for a few seconds."""
    for pause in DATABASE_PAUSES_SECONDS:
        try:
            step()
            return
        except OperationalError:
            time.sleep(pause)
    step()


def log_failure_of(what: object, step: Callable[[], object]) -> Exception | None:
    """Does a step whose failure must not replace the outcome; it is logged loudly instead."""
    try:
        step()
    except Exception as error:
        report_left_over(what, error)
        return error
    return None


def report_left_over(what: object, error: Exception | None = None) -> None:
    """Tells people of something, ids included, that nobody but them can clean up now."""
    logger.error("needs cleaning up by hand: %s", what, exc_info=error)
    LEFT_OVER.inc()
