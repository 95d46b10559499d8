"""A small queue between two threads. When it is full, either the oldest item goes, counted, or the giver waits."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """At most `depth` items. wait: a full box makes `put` wait, so nothing is lost; else the oldest item is dropped."""

    def __init__(self, depth: int, wait: bool = False) -> None:
        self.depth, self.wait = depth, wait
        self.dropped = 0
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, item: T) -> T | None:
        """The item that had to go, if one had: the newest, if the box is closed already."""
        with self._changed:
            while self.wait and len(self._items) >= self.depth and not self._closed:
                self._changed.wait(0.1)
            self._items.append(item)
            lost = None
            if len(self._items) > self.depth or self._closed:
                lost = self._items.pop() if self._closed else self._items.popleft()
                self.dropped += 1
            self._changed.notify_all()
            return lost

    def get(self, timeout: float) -> T | None:
        """The oldest item; None if there is none for `timeout` seconds, or the box is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed, timeout)
            if not self._items:
                return None
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def close(self) -> None:
        """No more is wanted: nobody waits any longer."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def drain(self) -> list[T]:
        """Everything that is in it, counted as dropped."""
        with self._changed:
            items = list(self._items)
            self._items.clear()
            self.dropped += len(items)
            self._changed.notify_all()
            return items

    @property
    def full(self) -> bool:
        """Whether another item would be one too many."""
        with self._changed:
            return len(self._items) >= self.depth

    @property
    def over(self) -> bool:
        """Closed, and nothing left."""
        with self._changed:
            return self._closed and not self._items
