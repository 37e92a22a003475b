"""The main process's side of a loader's worker processes: tasks out, batches in, failures named."""

from __future__ import annotations

import multiprocessing
import secrets
import time
import weakref
from multiprocessing.connection import wait
from typing import Any

from flambeau.utils.data import worker as W
from flambeau.utils.data.transfer import Inbox, remove

PATIENCE = 1.0  # seconds that a worker has to end by itself


class Worker:
    """A worker process and the ends of its pipes."""

    def __init__(self, context, job: W.Job, others: list[Worker]):
        theirs, self.tasks = context.Pipe(duplex=False)
        self.results, answers = context.Pipe(duplex=False)
        self.inbox, self.prefix = Inbox(), job.prefix
        self.active, self.pending = True, 0
        forked = context.get_start_method() == "fork"
        ends = [e for w in [*others, self] for e in (w.tasks, w.results)] if forked else []
        self.process = context.Process(target=W.run, daemon=True, args=(job, theirs, answers, ends))
        self.process.start()
        theirs.close()
        answers.close()  # so that the end of the process is the end of the pipe

    def send(self, number: int | None, indices) -> None:
        """A task, and the blocks that are free again."""
        try:
            self.tasks.send((number, indices, self.inbox.finished()))
        except (BrokenPipeError, ConnectionResetError):
            pass  # it is dead: receive says so, and how
        self.pending += number is not None

    def receive(self):
        """(number, data) that has arrived.

        Errors:   EOFError if the process is gone
        """
        message = self.results.recv_bytes()
        self.pending -= 1
        return self.inbox.unpack(message)

    def close(self) -> None:
        """Ask the process to end."""
        try:
            self.tasks.send(None)
        except (OSError, ValueError):
            pass
        self.tasks.close()

    def end(self, patience: float) -> None:
        """Wait for the process, then make it end."""
        self.process.join(patience)
        if self.process.is_alive():
            self.process.terminate()
            self.process.join(patience)
            if self.process.is_alive():
                self.process.kill()
                self.process.join()
        self.results.close()
        remove(self.prefix)


class Workers:
    """Batches made by worker processes: tasks go round, answers are given out in order (or as they come)."""

    def __init__(self, loader, base_seed: int):
        self.loader = loader
        context: Any = loader.multiprocessing_context
        if context is None or isinstance(context, str):
            context = multiprocessing.get_context(context)
        self.workers: list[Worker] = []
        token = secrets.token_hex(6)
        self.end = weakref.finalize(self, end_all, self.workers)  # with the iterator or the program, whichever comes first
        for i in range(loader.num_workers):
            job = W.Job(
                loader.dataset, loader._iterable, loader.collate_fn, loader.batch_sampler is not None, loader.drop_last,
                base_seed, i, loader.num_workers, loader.worker_init_fn, f"flambeau-{token}-{i}-",
            )  # fmt: skip
            self.workers.append(Worker(context, job, self.workers))
        self.start()

    def start(self) -> None:
        """Begin an epoch: give every worker something to do."""
        self.indices = self.loader._indices()
        self.sent = self.given = self.last = 0
        self.waiting: dict[int, Any] = {}
        for w in self.workers:
            w.active = True
        self.limit = self.loader.prefetch_factor * len(self.workers)
        self.last = -1
        for _ in range(self.limit):
            self.send()

    def restart(self) -> None:
        """Another epoch of the same processes."""
        while any(w.pending for w in self.workers):  # answers of an epoch that was left early
            self.receive()
        for w in self.workers:
            w.send(None, None)
        self.start()

    def send(self) -> None:
        """One more task, to the next worker that still has samples (and, out of order, is not behind)."""
        active = [w for w in self.workers if w.active]
        n = len(self.workers)
        for step in range(1, n + 1):
            which = (self.last + step) % n
            w = self.workers[which]
            if w.active and (self.loader.in_order or w.pending < max(1, self.limit // len(active))):
                break
        else:
            return
        try:
            indices = next(self.indices)
        except StopIteration:
            return
        self.last = which
        w.send(self.sent, indices)
        self.sent += 1

    def receive(self):
        """The next (number, data) of any worker.

        Errors:   RuntimeError if a worker died, or none answered in time
        """
        timeout = self.loader.timeout
        start = time.monotonic()
        while True:
            busy = {w.results: w for w in self.workers if w.pending}
            left = timeout - (time.monotonic() - start) if timeout else None
            ready = wait(list(busy), left)
            for end in ready:
                try:
                    return busy[end].receive()  # type: ignore[index]
                except (EOFError, ConnectionResetError):
                    self.fail(busy[end])  # type: ignore[index]
            if not ready:
                raise RuntimeError(f"DataLoader timed out after {timeout} seconds")

    def fail(self, dead: Worker):
        """Say which worker died, and of what."""
        number = self.workers.index(dead)
        dead.process.join(W.CHECK)
        pid, code = dead.process.pid, dead.process.exitcode
        self.close()
        how = f"killed by signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        hint = "; the system may have run out of memory" if code == -9 else ""
        raise RuntimeError(f"DataLoader worker {number} (pid(s) {pid}) exited unexpectedly ({how}{hint})")

    def __iter__(self):
        return self

    def __len__(self) -> int:
        return len(self.loader)

    def __next__(self):
        while True:
            if self.given >= self.sent:
                if not self.loader.persistent_workers:
                    self.close()
                raise StopIteration
            if self.given in self.waiting:
                data = self.waiting.pop(self.given)
                self.given += 1
            else:
                number, data = self.receive()
                if isinstance(data, W.Ended):
                    self.workers[data.worker].active = False
                    self.send()
                if number != self.given:
                    if self.loader.in_order or isinstance(data, W.Ended):
                        self.waiting[number] = data
                        continue
                    self.waiting[number] = W.Given()  # in its turn there is nothing left to give
                else:
                    self.given += 1
            if isinstance(data, (W.Ended, W.Given)):
                continue
            self.send()
            if isinstance(data, W.Failure):
                data.reraise()
            return data

    def close(self) -> None:
        """End the worker processes."""
        self.given = self.sent
        end_all(self.workers)


def end_all(workers: list[Worker]) -> None:
    """Ask all to end, then see to it."""
    for w in workers:
        w.close()
    while workers:
        workers.pop().end(PATIENCE)
