"""Signals that come while a run trains: noted, but for the second Ctrl-C."""

import signal

import pytest

from equipoise.training.signals import noting_signals


@pytest.mark.parametrize("before", [(), (signal.SIGTERM,), (signal.SIGTERM, signal.SIGTERM)])
def test_the_second_interrupt_acts_at_once_whatever_came_before(before: tuple[signal.Signals, ...]) -> None:
    with noting_signals() as stop:
        for number in (*before, signal.SIGINT):
            signal.raise_signal(number)
        assert stop.signal == (*before, signal.SIGINT)[0]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
