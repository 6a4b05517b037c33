// -------------------------------------------------------------------------------------- charts
// The kinds of charts. Each takes a chart, what it shows, and how wide it is, and gives a drawing.

const coloured = (place) => `var(--s${place % 8})`;

/** The width that names of rows take on the left. */
function namesWidth(rows, width) {
  return Math.min(0.38 * width, Math.max(...rows.map((name) => widthOf(name)), 20) + 10);
}

const DRAWINGS = {
  /** Rows with a point and its interval for each series. */
  intervals(chart, { label, rows, groups, series, values, lines, links }, width) {
    const several = series.length > 1;
    const left = namesWidth(rows, width);
    const right = width - 14;
    const used = [...new Set(groups)].filter(Boolean);
    const entries = several
      ? series.map((name, place) => ({ name, shape: SHAPES[place % 8], colour: coloured(place) }))
      : Object.keys(GROUPS).filter((group) => used.includes(group)).map((group) => ({ name: group, shape: GROUPS[group], colour: `var(--${group})` }));
    for (const [name, at] of lines) entries.push({ name: `${name} ${shown(at)}`, colour: "var(--soft)", dash: name.startsWith("mean") ? "" : "5 4" });
    const legend = chart.legend(entries);
    const tall = several ? Math.max(22, 12 * series.length + 6) : 22;
    const top = legend.height + 4;
    const bottom = top + tall * rows.length;
    const numbers = values.flat().filter(Boolean).flatMap(([value, low, high]) => [value, low, high]);
    const lowest = numbers.some((value) => value < 0) ? -Infinity : -0.02;
    const x = scaleOf([...numbers, ...lines.map(([, at]) => at)], left, right, lowest, lowest < -1 ? Infinity : 1.02);
    const marks = rows.map((name, row) => {
      const middle = top + tall * (row + 0.5);
      const says = (place) => {
        const own = values[place][row];
        const n = own?.[3] ? `, n = ${own[3].toLocaleString("en")}` : "";
        return `${name}${several ? `, ${series[place]}` : ""}: ${own ? withEnds(own) : "n/a"}${n}`;
      };
      const point = (place) => {
        const own = values[place][row];
        if (!own || own[0] === null) return null;
        const y = middle + (several ? 12 * (place - (series.length - 1) / 2) : 0);
        const [colour, shape] = several ? [coloured(place), SHAPES[place % 8]] : [`var(--${groups[row] || "neutral"})`, GROUPS[groups[row]] ?? "circle"];
        const line = own[1] !== null && draw("line", { x1: x(own[1]), x2: x(own[2]), y1: y, y2: y, stroke: colour, "stroke-width": 1.8 });
        return [line, marker(shape, x(own[0]), y, 5, colour)];
      };
      const text = writing(fitted(name, left - 10), left - 8, middle, { "text-anchor": "end" });
      const area = (from, to) => draw("rect", { class: "over", x: 0, y: from, width, height: to - from, fill: "transparent" });
      const to = (place) => responsesAt(links[place], { persona: name });
      if (!several) return chart.mark(says(0), to(0), area(middle - tall / 2, middle + tall / 2), text, point(0));
      const each = series.map((_, place) => {
        const y = middle + 12 * (place - (series.length - 1) / 2);
        return chart.mark(says(place), to(place), area(y - 6, y + 6), point(place));
      });
      return [each, text];
    });
    const marksOfLines = lines.map(([name, at]) =>
      draw("line", { x1: x(at), x2: x(at), y1: top, y2: bottom, stroke: "var(--soft)", "stroke-dasharray": name.startsWith("mean") ? null : "5 4" }),
    );
    return chart.svg(bottom + 42, legend.parts, chart.across(x, top, bottom, label, left, right), marksOfLines, marks);
  },

  /** Personas downwards, questions or steps to the right: what was solved. */
  map(chart, { rows, across, columns, cells, values, links, about }, width) {
    const left = namesWidth(rows, width);
    const partly = values.some(([correct, scored]) => correct > 0 && correct < scored);
    const legend = chart.legend([
      { name: "correct", colour: "var(--yes)", area: true },
      partly && { name: "some samples correct", colour: "var(--yes)", area: 0.5 },
      { name: "wrong", colour: "var(--no)", area: true },
      values.some(([, scored, asked]) => asked && !scored) && { name: "unscored", colour: "var(--lost)", area: true },
      values.some(([, , asked]) => !asked) && { name: "not asked", colour: "var(--paper)", area: true },
    ].filter(Boolean));
    const tall = rows.length > 40 ? 13 : 20;
    const top = legend.height + 4;
    const bottom = top + tall * rows.length;
    const wide = columns.length ? (width - left - 2) / columns.length : 0;
    const gap = wide > 6 ? 1 : 0;
    const paths = values.map((value, code) => {
      let d = "";
      rows.forEach((_, row) => {
        let start = -1;
        for (let at = 0; at <= columns.length; at++) {
          const same = at < columns.length && cells[row][at] === code;
          if (same && start < 0) start = at;
          if (start >= 0 && (!same || gap)) {
            const end = same ? at + 1 : at;
            d += `M${(left + start * wide).toFixed(2)} ${top + row * tall}h${((end - start) * wide - gap).toFixed(2)}v${tall - 1}h${(-((end - start) * wide - gap)).toFixed(2)}z`;
            start = -1;
          }
        }
      });
      const [correct, scored, asked] = value;
      if (!d || !asked) return null;
      if (!scored) return draw("path", { d, fill: "var(--lost)" });
      return [draw("path", { d, fill: "var(--no)" }), correct > 0 && draw("path", { d, fill: "var(--yes)", "fill-opacity": correct / scored })];
    });
    const over = draw("rect", { width: wide, height: tall - 1, fill: "none", stroke: "var(--ink)", "stroke-width": 2, visibility: "hidden" });
    const names = rows.map((name, row) =>
      chart.mark(name, responsesAt(links[0], { persona: name }), writing(fitted(name, left - 10), left - 8, top + (row + 0.5) * tall - 0.5, { "text-anchor": "end" })),
    );
    const area = draw("rect", { x: left, y: top, width: Math.max(0, width - left - 2), height: bottom - top, fill: "transparent", class: "cells" });
    const at = (event) => {
      const own = area.getBoundingClientRect();
      const column = Math.floor((event.clientX - own.x) / wide);
      const row = Math.floor((event.clientY - own.y) / tall);
      return event.target === area && rows[row] !== undefined && columns[column] !== undefined ? [row, column] : null;
    };
    chart.cellAt = (event) => {
      const cell = event.clientX === undefined ? null : at(event);
      over.setAttribute("visibility", cell ? "visible" : "hidden");
      if (!cell) return null;
      const [row, column] = cell;
      over.setAttribute("x", left + column * wide);
      over.setAttribute("y", top + row * tall);
      const [correct, scored, asked] = values[cells[row][column]];
      const what = !asked ? "not asked" : !scored ? "unscored" : correct % 1 ? `score ${(correct / scored).toFixed(2)}` : asked === 1 ? (correct ? "correct" : "wrong") : `${correct} of ${scored} correct`;
      return `${rows[row]} × ${across} ${columns[column]}: ${what}`;
    };
    area.addEventListener("click", (event) => {
      const cell = at(event);
      const to = cell && responsesAt(links[0], { [across]: columns[cell[1]], at: rows[cell[0]] });
      if (to) go(to);
    });
    const told = about.split("; ").map((part, line) => writing(fitted(part, width), 0, bottom + 14 + 17 * line, { fill: "var(--soft)" }));
    return chart.svg(bottom + 10 + 17 * told.length, legend.parts, names, paths, over, area, told);
  },

  /** Checkpoints by two numbers. */
  points(chart, { label, up, points }, width) {
    const methods = [...new Set(points.map((point) => point.name))];
    const [left, right, top, bottom] = [52, width - 14, 26, Math.min(420, 0.62 * width + 60)];
    const spread = (axis) => points.flatMap((point) => point[axis]);
    const within = spread("x").every((value) => value === null || (value >= 0 && value <= 1));
    const x = scaleOf(spread("x"), left, right, within ? -0.02 : -Infinity, within ? 1.02 : Infinity);
    const y = scaleOf(spread("y"), bottom, top + 4);
    const taken = [];
    const marks = methods.map((name, place) => {
      const own = points.filter((point) => point.name === name);
      const mean = (axis) => own.reduce((sum, point) => sum + point[axis][0], 0) / own.length;
      const colour = coloured(place);
      const each = own.map((point) => {
        const says = `${name}${point.seed ? `, seed ${point.seed}` : ""}: ${label.toLowerCase()} ${withEnds(point.x)}; ${up.toLowerCase()} ${withEnds(point.y)}`;
        const bar = (axis, ends) => point[axis][1] !== null && draw("line", { ...ends, stroke: colour, "stroke-width": 1.3, "stroke-opacity": 0.75 });
        const [px, py] = [x(point.x[0]), y(point.y[0])];
        return chart.mark(
          says,
          responsesAt(point.link),
          bar("x", { x1: x(point.x[1]), x2: x(point.x[2]), y1: py, y2: py }),
          bar("y", { x1: px, x2: px, y1: y(point.y[1]), y2: y(point.y[2]) }),
          draw("circle", { cx: px, cy: py, r: 11, fill: "transparent", class: "over" }),
          marker(SHAPES[place % 8], px, py, own.length > 1 ? 3.5 : 6, colour),
        );
      });
      const [mx, my] = [x(mean("x")), y(mean("y"))];
      const text = fitted(name, width / 3);
      const wide = widthOf(text);
      const spots = [[mx + 10, my - 12], [mx + 10, my + 12], [mx - wide - 10, my - 12], [mx - wide - 10, my + 12], [mx + 10, my - 28], [mx + 10, my + 28]];
      const free = ([sx, sy]) => sx > left && sx + wide < width && taken.every(([tx, ty, tw]) => sx + wide < tx || tx + tw < sx || Math.abs(ty - sy) > 14);
      const [sx, sy] = spots.find(free) ?? spots[0];
      taken.push([sx, sy, wide]);
      return [each, own.length > 1 && marker(SHAPES[place % 8], mx, my, 7, colour), writing(text, sx, sy, { fill: colour, "font-weight": 600 })];
    });
    return chart.svg(bottom + 42, chart.across(x, top, bottom, label, left, right), chart.upwards(y, left, right, up, 8), marks);
  },

  /** Curves, with a ribbon where there is one. */
  lines(chart, { label, up, curves }, width) {
    const ofGroups = curves.every(({ name }) => GROUPS[name]);
    const looks = curves.map(({ name }, place) => (ofGroups ? { colour: `var(--${name})`, shape: GROUPS[name] } : { colour: coloured(place), shape: SHAPES[place % 8] }));
    const legend = chart.legend(curves.length > 1 ? curves.map(({ name }, place) => ({ name, ...looks[place], dash: "" })) : []);
    const [left, right, top, bottom] = [52, width - 14, legend.height + 26, legend.height + Math.min(300, 0.4 * width + 90)];
    const all = curves.flatMap(({ points }) => points);
    const x = scaleOf(all.map((point) => point[0]), left, right);
    const y = scaleOf(all.flatMap((point) => point.slice(1)), bottom, top);
    const marks = curves.map(({ name, points }, place) => {
      const { colour, shape } = looks[place];
      const own = points.filter((point) => point[1] !== null);
      const apart = Math.ceil(own.length / 20);
      const path = (column) => own.map((point, at) => `${at ? "L" : "M"}${x(point[0]).toFixed(1)} ${y(point[column]).toFixed(1)}`).join("");
      const back = own.length && own[0].length > 3 ? path(2) + [...own].reverse().map((point) => `L${x(point[0]).toFixed(1)} ${y(point[3]).toFixed(1)}`).join("") + "Z" : null;
      const dots = own.map((point, at) => {
        const ends = point.length > 3 ? ` [${shown(point[2])}, ${shown(point[3])}]` : "";
        const says = `${name}, ${label.toLowerCase()} ${point[0]}: ${shown(point[1])}${ends}`;
        const [px, py] = [x(point[0]), y(point[1])];
        return chart.mark(says, null, draw("circle", { cx: px, cy: py, r: 9, fill: "transparent" }), at % apart === 0 && marker(shape, px, py, 3.5, colour));
      });
      return [back && draw("path", { d: back, fill: colour, "fill-opacity": 0.15 }), draw("path", { d: path(1), fill: "none", stroke: colour, "stroke-width": 1.8 }), dots];
    });
    return chart.svg(bottom + 42, legend.parts, chart.across(x, top, bottom, label, left, right), chart.upwards(y, left, right, up, legend.height + 10), marks);
  },

  /** Stacked shares. */
  bars(chart, { label, rows, parts, looks, pale, filters, counts, totals, links }, width) {
    const colours = looks.map((look, place) => (look === "correct" ? "var(--yes)" : look === "unscored" ? "var(--lost)" : `var(--f${looks.slice(0, place).filter((each, before) => each === look && !(pale[place] && !pale[before])).length % 6})`));
    const legend = chart.legend(parts.map((name, place) => ({ name, colour: colours[place], area: pale[place] ? 0.4 : true })));
    const left = namesWidth(rows, width);
    const [right, tall, top] = [width - 14, 20, legend.height + 4];
    const bottom = top + tall * rows.length;
    const x = Object.assign((value) => left + value * (right - left), { ticks: (apart) => ticksOf(0, 1, (right - left) / apart) });
    const marks = rows.map((name, row) => {
      let start = 0;
      const bars = parts.map((part, place) => {
        const count = counts[row][place];
        if (!count) return null;
        const from = start / totals[row];
        start += count;
        const says = `${name}: ${part} ${count.toLocaleString("en")} of ${totals[row].toLocaleString("en")} (${((100 * count) / totals[row]).toFixed(0)}%)`;
        const bar = draw("rect", { x: x(from), y: top + row * tall + 3, width: (count / totals[row]) * (right - left), height: tall - 6, fill: colours[place], "fill-opacity": pale[place] ? 0.4 : 1, stroke: "var(--paper)", "stroke-width": 0.7 });
        return chart.mark(says, responsesAt(links[0], { persona: name, ...filters[place] }), bar);
      });
      return [bars, writing(fitted(name, left - 10), left - 8, top + (row + 0.5) * tall, { "text-anchor": "end" })];
    });
    return chart.svg(bottom + 42, legend.parts, chart.across(x, top, bottom, label, left, right), marks);
  },
};
