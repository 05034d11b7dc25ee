"""The objective's curve, drawn as SVG inside the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

__all__ = ["curve_svg", "shares"]

WIDTH, HEIGHT = 720, 220
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 22, 40
TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


def shares(objective: Iterable[Mapping]) -> list[tuple[int, float]]:
    """Combine the objectives of all levels, which have different scales, into one decreasing curve.

    The curve begins at 1, each level begins where the one before it ended, and each value is the best one so far, since
    the best one is also the result.

    Args:
        objective: {"level", "iteration", "objective"} in order; entries with the objective None are skipped.

    Returns:
        (level, remaining share of the mismatch) for each value.
    """
    values, level, start, factor, best = [], None, 0.0, 1.0, 1.0
    for entry in objective:
        value = entry.get("objective")
        if value is None:
            continue
        if entry.get("level") != level:
            level, start, factor = entry.get("level"), value, best
        if start > 0:
            best = min(best, factor * value / start)
        values.append((level, best))
    return values


def curve_svg(values: list[tuple[int, float]]) -> str:
    """Draw a curve with its axes.

    Args:
        values: As returned by `shares`; at least one.

    Returns:
        An `svg` element.
    """
    lowest = min(share for _, share in values)
    floor = max((tick for tick in (0.0, 0.25, 0.5, 0.75, 0.9) if tick < lowest - 0.02), default=0.0)
    plot_width, plot_height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(number: float) -> float:
        return LEFT + plot_width * number / max(len(values) - 1, 1)

    def y(share: float) -> float:
        return TOP + plot_height * (1.0 - share) / (1.0 - floor)

    ticks = sorted({floor, 1.0, *(tick for tick in TICKS if tick > floor)})
    parts = [
        f'<line class="rule" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>'
        f'<text x="{LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{100 * tick:.0f} %</text>'
        for tick in ticks
    ]
    starts = [n for n in range(len(values)) if n == 0 or values[n][0] != values[n - 1][0]]
    for order, (start, stop) in enumerate(zip(starts, [*starts[1:], len(values) - 1])):
        if order:
            at = f'x1="{x(start):.1f}" x2="{x(start):.1f}" y1="{TOP}" y2="{y(floor):.1f}"'
            parts.append(f'<line class="level" {at}/>')
        if x(stop) - x(start) > 40:
            parts.append(
                f'<text x="{(x(start) + x(stop)) / 2:.1f}" y="{TOP - 7}" text-anchor="middle">scale {order + 1}</text>'
            )
    line = " ".join(f"{x(n):.1f},{y(share):.1f}" for n, (_, share) in enumerate(values))
    count = len(values)
    parts += [
        f'<polyline class="curve" points="{line}"/>',
        f'<text x="{LEFT}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">1</text>',
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - BOTTOM + 16}" text-anchor="end">{count}</text>',
        f'<text x="{LEFT + plot_width / 2:.0f}" y="{HEIGHT - 6}" text-anchor="middle">iteration</text>',
    ]
    label = f"Curve: the mismatch falls to {100 * values[-1][1]:.0f} % of its start within {count} iterations."
    return f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg>'
