"""What is shown of a training run, on terminals of all kinds and elsewhere."""

import io
import threading
from functools import partial

import pytest
from rich.console import Console

from equipoise.objectives import BEGAN, EBGAN
from equipoise.training.health import in_balance
from equipoise.views.terminal import PLAIN_SECONDS, Display, duration, number, progress_bar, short, sparkline

MEASURES = {"lr": 1e-4, "energy_real": 0.0612, "energy_fake": 0.03, "k": 0.07, "m_global": 0.064, "balance": 0.49}


HELD = partial(in_balance, objective=BEGAN(gamma=0.5, boundary="batch"))


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def plain(width=200):
    return Console(file=io.StringIO(), width=width)


def rendered(display, width=120, encoding="utf-8"):
    """The live region as text."""
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=file, force_terminal=True, width=width, color_system=None)
    console.print(display.view)
    file.flush()
    return file.buffer.getvalue().decode(encoding)


def drive(console, *, start=0, total=300_000, seconds=0.8, **options):
    """A display after a whole run, a line of metrics every 1,000 images and `seconds`."""
    clock = Clock()
    with Display(total, "BEGAN on digits", console, start_at=start, clock=clock, balanced=HELD, **options) as display:
        for images in range(start + 1000, total + 1, 1000):
            clock.now += seconds
            display.update(images, {**MEASURES, "m_global": 0.06 + 500 / images})
    return display


def test_a_log_file_gets_a_line_every_five_percent():
    console = plain()
    drive(console)
    title, *lines = console.file.getvalue().splitlines()
    assert title == "BEGAN on digits, 300k images"
    assert len(lines) == 21
    assert lines[-1].startswith("100%  300k / 300k images  1.25k images/s  0:04:00 elapsed")
    assert "ℒ(x) 0.0612  ℒ(G(z)) 0.0300  k 0.0700  M_global 0.0617" in lines[-1]
    assert "\x1b" not in console.file.getvalue()


def test_a_long_run_gets_a_line_every_few_minutes():
    console = plain()
    drive(console, seconds=PLAIN_SECONDS)
    assert len(console.file.getvalue().splitlines()) == 301


def test_the_last_line_has_what_the_end_brings():
    console = plain()
    with Display(1000, "BEGAN on digits", console) as display:
        display.update(0, {"diversity": 0.01})
        display.update(1000, MEASURES)
        display.update(1000, {"diversity": 0.5})
        display.message("warning", "all of it")
    *_, warning, line = console.file.getvalue().splitlines()
    assert warning == "warning: all of it"
    assert line.startswith("100%")
    assert "diversity 0.5" in line


def test_long_lines_are_not_broken_in_a_log_file():
    console = plain(width=40)
    drive(console, total=1000)
    assert len(console.file.getvalue().splitlines()) == 2


def test_a_terminal_gets_a_live_region_that_stays_at_the_end():
    console = Console(file=io.StringIO(), force_terminal=True, width=100, color_system="truecolor")
    drive(console)
    last = console.file.getvalue().split("\x1b[2K")[-1]
    for words in ("━", "100%", "300k / 300k images", "ℒ(G(z))", "learning rate", "balanced", "\x1b["):
        assert words in last
    assert last.endswith("\x1b[?25h")  # the cursor is back


def test_the_cursor_comes_back_after_an_error():
    console = Console(file=io.StringIO(), force_terminal=True)
    with pytest.raises(KeyboardInterrupt), Display(10, "run", console):
        raise KeyboardInterrupt
    assert "\x1b[?25h" in console.file.getvalue()


def test_speed_and_time_left_count_from_where_this_process_began():
    view = drive(plain(), start=150_000, total=200_000).view
    assert view.images_per_second == pytest.approx(1250)
    clock = Clock()
    display = Display(200_000, "run", plain(), clock=clock)
    with display:
        display.update(100_000, {})  # resumed there, and no start_at given
        assert display.view.images_per_second is None
        clock.now = 10
        display.update(101_000, {})
        assert display.view.images_per_second == pytest.approx(100)
        assert "100 images/s  0:00:10 elapsed  0:16:30 left" in "  ".join(display.view.progress())
        display.update(90_000, {})  # back to a checkpoint: the last speed stands
        assert display.view.images_per_second == pytest.approx(100)
        display.update(91_000, {}, images_per_second=7.0)
        assert display.view.images_per_second == 7


def test_speed_follows_a_change():
    clock, display = Clock(), Display(10**6, "run", plain(), start_at=0)
    display.clock = clock
    with display:
        for step in range(1, 200):
            clock.now += 1
            display.update(step * 100 if step < 100 else 9_900 + (step - 99) * 500, {})
    assert display.view.images_per_second == pytest.approx(500)


def test_measures_of_other_lines_stay():
    with Display(100, "run", plain()) as display:
        display.update(10, MEASURES)
        display.update(10, {"diversity": 0.93, "pulling_away": float("nan")})
        shown = rendered(display)
    for words in ("ℒ(x)", "0.0612", "diversity", "0.930", "pulling away", "nan"):
        assert words in shown


def test_a_narrow_terminal_shows_everything():
    display = drive(plain())
    shown = rendered(display, width=40)
    assert max(map(len, shown.splitlines())) <= 40
    for words in ("300k / 300k images", "1.25k images/s", "ℒ(G(z))", "M_global", "learning rate", "balanced"):
        assert words in shown


def test_without_unicode_names_are_ascii():
    with Display(100_000, "digits at 8×8 ☃", plain()) as display:
        for images in range(1000, 50_000, 1000):
            display.update(images, {"m_global": 0.1 + 100 / images, "energy_fake": 1.0, "γ": 0.5})
        display.message("warning", "γ ℒ(x) — far off … " * 20)
    shown = rendered(display, width=60, encoding="ascii")
    for words in ("digits at 8x8 ?", "L(G(z))", "gamma", "* gamma L(x) - far off ..."):
        assert words in shown
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    with Display(100, "ℒ", Console(file=file)) as other:
        other.update(10, {"energy_real": 1.0, "λ": 2.0})
        other.message("error", "ℒ ☃ is not finite")
    file.flush()
    assert b"error: L ? is not finite" in file.buffer.getvalue()


@pytest.mark.parametrize(("level", "prefix"), [("info", ""), ("warning", "warning: "), ("error", "error: ")])
@pytest.mark.parametrize("terminal", [True, False])
def test_what_is_said_stays_above_and_is_not_read_as_markup(level, prefix, terminal):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100, color_system=None)
    with Display(100, "run", console) as display:
        display.message(level, "halved [bold]to[/bold] [0, 1]")
        display.update(10, MEASURES)
    assert f"{prefix}halved [bold]to[/bold] [0, 1]\n" in console.file.getvalue()


def test_a_progress_bar_names_its_task_as_it_is(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr("sys.stderr", stream := io.StringIO())
    with progress_bar("reading [/old] [red]photos[/red]\n") as update:
        update(3, 7)
    assert "reading [/old] [red]photos[/red]\\n" in stream.getvalue()
    assert "3/7" in stream.getvalue()


def test_health_in_words():
    with Display(100_000, "run", plain(), balanced=HELD) as display:
        assert display.view.health == ("info", "starting")
        for measures in ({"k": 0.0, "balance": 0.5}, {"k": 0.2, "balance": 0.7}, {"balance": 0.1}, {"k": 1.0}):
            display.update(1000, measures)
            assert display.view.health == ("info", "no warnings"), "k alone makes no balance, nor does the ratio"
        display.update(2000, {"k": 0.2, "balance": 0.52})
        assert display.view.health == ("good", "balanced")
        display.message("warning", "k sits at 0")
        display.update(6000, {"k": 0.2})
        assert display.view.health == ("warning", "k sits at 0")
        display.update(8000, {"k": 0.2})
        assert display.view.health == ("info", "no new warning since 2k images")
        display.message("error", "diverged")
        display.update(90_000, {"k": 0.2})
        assert display.view.health == ("error", "diverged")


@pytest.mark.parametrize("terminal", [True, False])
def test_quiet_shows_nothing(terminal):
    console = Console(file=io.StringIO(), force_terminal=terminal)
    display = drive(console, quiet=True)
    display.message("error", "anything")
    assert console.file.getvalue() == ""


def test_an_update_only_notes_what_to_show():
    """The region is drawn a few times a second by a thread, however many updates there are."""
    console = Console(file=io.StringIO(), force_terminal=True)
    with Display(10**6, "run", console) as display:
        before = threading.get_ident()
        drawn_here = []
        render = type(display.view).__rich_console__
        with pytest.MonkeyPatch.context() as patch:

            def noting(view, *options):
                drawn_here.append(threading.get_ident() == before)
                return render(view, *options)

            patch.setattr(type(display.view), "__rich_console__", noting)
            for images in range(1000, 201_000, 1000):
                display.update(images, MEASURES)
            assert not any(drawn_here)


def test_numbers():
    assert [short(n) for n in (0, 7, 999, 1000, 12_345, 300_000, 999_999, 1_234_567, 2e9)] == (
        ["0", "7", "999", "1k", "12.3k", "300k", "1M", "1.23M", "2G"]
    )
    assert [number(v) for v in (0.0612, 0.5, 0, 1, 123.4, 12_345, 5e-05, -0.25, float("inf"))] == (
        ["0.0612", "0.500", "0.00", "1.00", "123", "12,345", "5e-05", "-0.250", "inf"]
    )
    assert duration(100.4) == "0:01:40"


def test_sparklines():
    assert sparkline([]) == sparkline([1.0]) == ""
    assert sparkline([1, 2]) == "▁█"
    assert sparkline([3, 3, 3]) == "▁▁▁"
    assert sparkline([-1, 0, 1], unicode=False) == "_+@"
    assert sparkline([2.0**-i for i in range(120)]) == "█▇▇▆▅▅▄▄▃▂▂▁"


def test_with_a_boundary_for_each_image_they_lie_on_both_sides_of_it() -> None:
    for k, balanced in ((0.0, False), (0.2, True), (1.0, False)):
        assert in_balance({"k": k, "balance": 1.3}, BEGAN()) == balanced
    assert not in_balance({"k": 0.5, "balance": 1.0}, EBGAN()), "which has no balance to hold"
