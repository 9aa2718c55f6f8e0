"""Random histories: crashes, stale workers, lost replies, listing lag, late and repeated webhooks, cancels.

What must hold in all of them: no key is charged twice, states only go forward, what is archived stays, and every
history ends with the paid video in the archive unless fal lost it.
"""

import os
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from ledger_parts import Clock
from ledger_world import LAG, LEASE, Wire, World

from prefect_ltx.ledger import CLOSED, RANK, Generation, Ledger, State

WIRES: list[Wire] = ["accepted", "accepted, reply lost", "lost before fal", "rejected", "no connection"]
FAST = Path("/dev/shm")


class Histories(RuleBasedStateMachine):
    """One key, any number of workers, and a world that does not care."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(dir=FAST if FAST.is_dir() else None)
        self.clock = Clock()
        self.ledger = Ledger(f"sqlite:///{self.folder.name}/ledger.db", clock=self.clock, lease_seconds=LEASE)
        self.furthest: dict[str, tuple[int, int]] = {}
        self.archived: dict[str, Generation] = {}

    @initialize(seed_drawn=st.booleans(), absence_is_proof=st.booleans())
    def begin(self, seed_drawn: bool, absence_is_proof: bool) -> None:
        self.world = World(self.ledger, self.clock, seed_drawn, absence_is_proof)
        self.world.start()

    @rule()
    def another_worker(self) -> None:
        self.world.start()

    @precondition(lambda self: self.world.workers)
    @rule(
        data=st.data(),
        wire=st.sampled_from(WIRES),
        delay=st.sampled_from([0.0, 1.0, LAG]),
        acts=st.integers(1, 4),
    )
    def a_worker_acts(self, data: st.DataObject, wire: Wire, delay: float, acts: int) -> None:
        worker = data.draw(st.sampled_from(self.world.workers))
        for _ in range(acts):
            if worker in self.world.workers:
                self.world.act(worker, wire, delay)

    @precondition(lambda self: self.world.workers)
    @rule(data=st.data())
    def a_worker_is_killed(self, data: st.DataObject) -> None:
        self.world.workers.remove(data.draw(st.sampled_from(self.world.workers)))

    @rule(seconds=st.sampled_from([1.0, LEASE / 2, LEASE + 1, LAG + 1, 5000.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.sleep(seconds)

    @precondition(lambda self: self.world.requests)
    @rule(data=st.data(), state=st.sampled_from(["running", "done", "failed", "cancelled", "gone"]))
    def fal_goes_on(self, data: st.DataObject, state: str) -> None:
        request = data.draw(st.sampled_from(self.world.requests))
        if state == "gone":
            request.gone = request.state == "done"
        elif request.state in ("queued", "running"):
            request.state = state  # type: ignore[assignment]

    @precondition(lambda self: self.world.requests)
    @rule(data=st.data(), with_payload=st.booleans())
    def a_webhook_arrives(self, data: st.DataObject, with_payload: bool) -> None:
        request = data.draw(st.sampled_from(self.world.requests))
        if request.state in ("done", "failed", "cancelled"):
            self.world.webhook(request, with_payload=with_payload)

    @rule()
    def a_sweep_expires_leases(self) -> None:
        self.ledger.expire_dead_leases()

    @rule()
    def somebody_cancels(self) -> None:
        self.world.cancel()

    @rule()
    def somebody_decides(self) -> None:
        self.world.decide()

    @invariant()
    def no_key_is_charged_twice(self) -> None:
        if hasattr(self, "world"):
            assert len(self.world.charges()) <= 1, self.world.requests

    @invariant()
    def states_go_forward_and_the_archive_stays(self) -> None:
        rows = self.ledger.find(key="key-1")
        assert sum(row.is_live for row in rows) <= 1
        for row in rows:
            place = (row.attempt, RANK[row.state])
            assert place >= self.furthest.get(row.id, (0, 0))
            self.furthest[row.id] = place
            if row.state is State.ARCHIVED:
                assert self.archived.setdefault(row.id, row) == row
            if row.state in CLOSED:
                assert row.owner is None

    def teardown(self) -> None:
        try:
            if hasattr(self, "world"):
                assert self.world.finish() == "done"
                self.no_key_is_charged_twice()
                self.states_go_forward_and_the_archive_stays()
                (paid,) = self.world.charges()
                (row,) = self.ledger.find(states=[State.ARCHIVED])
                assert row.request_id == paid.request_id
                assert [open_one.id for open_one in self.ledger.unfinished()] == []
                assert self.ledger.double_charges() == []
        finally:
            self.ledger.close()
            self.folder.cleanup()


HISTORIES = 200 if os.environ.get("CHAOS_ROUNDS") else 20
"""`make chaos` takes 200; longer histories of more of the world are those of tests/simulation."""


def test_no_history_pays_twice_or_loses_a_paid_video() -> None:
    """Whatever crashes, lags, repeats or is cancelled: one charge, one archived video, a closed row."""
    run_state_machine_as_test(
        Histories,
        settings=settings(
            max_examples=HISTORIES,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
