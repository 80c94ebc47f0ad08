/* charts.js - Chart.js as this page uses it.
 *
 * Every chart is a figure: what it shows, the canvas, and the same numbers as a table. Colours are
 * those of style.css, and are asked for again when the screen turns dark or the page is printed. */

const charts = [];

/* Paper is white and narrow whatever the screen was: the class gives the page its colours and its
 * width of the print before the charts are drawn. */
const onPaper = () => document.documentElement.classList.contains('printing');
const colour = name => getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim();

Chart.defaults.animation = false;
Chart.defaults.transitions.active.animation.duration = 0;
Chart.defaults.maintainAspectRatio = false;
Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
Chart.defaults.plugins.legend.labels.usePointStyle = true;
Chart.defaults.plugins.legend.labels.boxHeight = 7;
Chart.defaults.plugins.legend.position = 'bottom';
Chart.defaults.plugins.tooltip.mode = 'index';
Chart.defaults.plugins.tooltip.intersect = false;

function takeColours() {
  Chart.defaults.color = colour('soft');
  Chart.defaults.borderColor = colour('line');
  Chart.defaults.font.size = onPaper() ? 10 : 12;
}

/* configure: makes Chart.js's configuration; called again when colours change. */
function draw(canvas, configure) {
  takeColours();
  charts.push({canvas, configure, chart: new Chart(canvas, configure())});
}

function drawAgain() {
  takeColours();
  for (const held of charts) held.chart.destroy();
  for (const held of charts) held.chart = new Chart(held.canvas, held.configure());
}

function putOnPaper(on) {
  document.documentElement.classList.toggle('printing', on);
  drawAgain();
}

matchMedia('(prefers-color-scheme: dark)').addEventListener('change', drawAgain);
addEventListener('beforeprint', () => putOnPaper(true));
addEventListener('afterprint', () => putOnPaper(false));

/* Charts are drawn when their places have sizes: when the page stands, and those of a run that is
 * folded when it is opened. */
let waiting = [];
function drawWaiting() {
  const all = waiting;
  waiting = [];
  all.forEach(drawNow => drawNow());
}

function chart(title, note, height, tabled, configure) {
  const canvas = element('canvas', {role: 'img', 'aria-label': title + (tabled ? '. The numbers are in the table below.' : '. The numbers are in the table of this section.')});
  waiting.push(() => draw(canvas, configure));
  return element('figure', {},
    element('figcaption', {}, heading(1, title), note ? element('p', {}, note) : null),
    element('div', {class: 'chart', style: '--height: ' + height + 'px'}, canvas),
    tabled ? folded('Table', title, tabled) : element('div'));
}

const axis = (title, more) => ({title: {display: Boolean(title), text: title}, border: {display: false}, ...more});

/* ---- curves ---- */

/* Where stages begin: a line before the first epoch of each. */
const stageLines = starts => ({
  id: 'stages',
  afterDatasetsDraw(drawn) {
    const {ctx, chartArea, scales} = drawn;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = colour('soft');
    ctx.font = Chart.defaults.font.size - 1 + 'px ' + Chart.defaults.font.family;
    ctx.textBaseline = 'top';
    ctx.setLineDash([3, 3]);
    for (const {epoch, stage} of starts) {
      const x = scales.x.getPixelForValue(epoch - .5);
      if (x < chartArea.left || x > chartArea.right) continue;
      ctx.beginPath();
      ctx.moveTo(x, chartArea.top);
      ctx.lineTo(x, chartArea.bottom);
      ctx.stroke();
      ctx.textAlign = x > chartArea.right - 50 ? 'right' : 'left';
      ctx.fillText('stage ' + stage, x + (ctx.textAlign === 'right' ? -4 : 4), chartArea.top + 3);
    }
    ctx.restore();
  },
});

/* The lower and the upper edge of mean +- sd; the area between them is filled. */
const band = one => ['mean', 'mean'].map((unused, edge) => ({
  data: one.points.map(point => ({x: point.x, y: point.y + (edge ? 1 : -1) * (point.sd || 0)})),
  borderWidth: 0, pointRadius: 0, pointHitRadius: 0, fill: edge ? '-1' : false, backgroundColor: colour(one.colour) + '33',
}));

/* series: {label, colour, style, dash, points: [{x, y, sd}]}; where a point has an sd a band is drawn. */
function lines(series, x, y, options = {}) {
  const curve = (one, s) => ({
    label: one.label, data: one.points, borderColor: colour(one.colour), backgroundColor: colour(one.colour) + (options.stacked ? '66' : ''),
    borderDash: one.dash || [], borderWidth: 2, pointStyle: one.style || 'circle',
    pointRadius: options.stacked || one.points.length > 40 ? 0 : 3, fill: options.stacked ? (s === 0 ? 'origin' : '-1') : false, spanGaps: true,
    stepped: options.stacked && options.stages.length ? 'middle' : false,
  });
  return () => ({
    type: 'line',
    data: {datasets: series.flatMap((one, s) => one.points.some(point => point.sd) ? [...band(one), curve(one, s)] : [curve(one, s)])},
    options: {
      plugins: {legend: {labels: {filter: item => item.text !== undefined}}, tooltip: {filter: item => item.dataset.label !== undefined}},
      scales: {
        x: axis(x, {type: 'linear', ticks: {precision: 0}, grid: {display: false}}),
        y: axis(y, {type: options.log ? 'logarithmic' : 'linear', stacked: options.stacked, min: options.min, max: options.max}),
      },
    },
    plugins: options.stages && options.stages.length ? [stageLines(options.stages)] : [],
  });
}

/* ---- bars ---- */

/* Each bar's number at its end. */
const barNumbers = format => ({
  id: 'numbers',
  afterDatasetsDraw(drawn) {
    const {ctx} = drawn;
    ctx.save();
    ctx.fillStyle = colour('ink');
    ctx.font = Chart.defaults.font.size + 'px ' + Chart.defaults.font.family;
    ctx.textBaseline = 'middle';
    drawn.getDatasetMeta(0).data.forEach((bar, i) => {
      const value = drawn.data.datasets[0].data[i];
      if (!has(value)) return;
      ctx.textAlign = value < 0 ? 'right' : 'left';
      ctx.fillText(format(value), bar.x + (value < 0 ? -5 : 5), bar.y);
    });
    ctx.restore();
  },
});

const zeroLine = {color: line => colour(line.tick && line.tick.value === 0 ? 'soft' : 'line')};

/* Chart.js gives names half of the width at most, and cuts what is longer. */
function fitNames(scale, names) {
  scale.ctx.font = Chart.defaults.font.size + 'px ' + Chart.defaults.font.family;
  scale.width = Math.min(Math.max(...names.map(name => scale.ctx.measureText(name).width)) + 12, .7 * scale.chart.width);
}

function bars(names, values, colours, format, title) {
  return () => ({
    type: 'bar',
    data: {labels: names, datasets: [{data: values, backgroundColor: colours.map(colour), maxBarThickness: 18}]},
    options: {
      indexAxis: 'y',
      layout: {padding: {right: title ? 0 : 56}},
      plugins: {legend: {display: false}, tooltip: {callbacks: {label: item => format(item.raw)}}},
      scales: {
        x: title ? axis(title, {beginAtZero: true, grace: '18%', grid: zeroLine, ticks: {maxTicksLimit: 7, callback: format}})
          : {display: false, min: 0, max: Math.max(...values.filter(has), 1e-9)},
        y: {border: {display: false}, grid: {display: false}, ticks: {autoSkip: false, color: colour('ink')}, afterFit: scale => fitNames(scale, names)},
      },
    },
    plugins: [barNumbers(format)],
  });
}

/* ---- runs as dots ---- */

/* From mean - sd to mean + sd, and a stroke at the mean. */
const errorBars = {
  id: 'errors',
  afterDatasetsDraw(drawn) {
    const {ctx, scales} = drawn;
    ctx.save();
    ctx.lineWidth = 2;
    for (const set of drawn.data.datasets)
      for (const {mean, sd, y} of set.means) {
        const [low, middle, high] = [mean - sd, mean, mean + sd].map(value => scales.x.getPixelForValue(value)), at = scales.y.getPixelForValue(y);
        ctx.strokeStyle = set.borderColor;
        ctx.beginPath();
        for (const [x, half] of [[low, 4], [middle, 9], [high, 4]]) {
          ctx.moveTo(x, at - half);
          ctx.lineTo(x, at + half);
        }
        ctx.moveTo(low, at);
        ctx.lineTo(high, at);
        ctx.stroke();
      }
    ctx.restore();
  },
};

/* rows: names; sets: {label, colour, style, offset, values: [[...] for each row], means: [{mean, sd, count} or undefined]}. */
function dots(rows, sets, title, unit) {
  const reach = sets.flatMap(set => set.means).filter(of => of && of.count > 1).flatMap(of => [of.mean - of.sd, of.mean + of.sd]);
  const edges = reach.length ? {suggestedMin: Math.min(...reach), suggestedMax: Math.max(...reach)} : {};
  return () => ({
    type: 'scatter',
    data: {datasets: sets.map(set => ({
      label: set.label, backgroundColor: colour(set.colour) + '99', borderColor: colour(set.colour), pointStyle: set.style, pointRadius: 5,
      data: set.values.flatMap((values, y) => values.map(value => ({x: value, y: y + set.offset}))),
      means: set.means.map((of, y) => ({...of, y: y + set.offset})).filter(of => of.count > 1),
    }))},
    options: {
      plugins: {tooltip: {mode: 'nearest', callbacks: {label: item => item.dataset.label + ' ' + percent(item.parsed.x) + unit}}},
      scales: {
        x: axis(title, {...edges, grace: '4%', grid: zeroLine}),
        y: {min: -.5, max: rows.length - .5, reverse: true, border: {display: false}, grid: {display: false},
          ticks: {color: colour('ink'), autoSkip: false, callback: value => Number.isInteger(value) ? shorten(rows[value], 20) : ''},
          afterFit: scale => fitNames(scale, rows.map(name => shorten(name, 20))),
          afterBuildTicks: scale => { scale.ticks = rows.map((name, i) => ({value: i})); }},
      },
    },
    plugins: [errorBars],
  });
}

const shorten = (text, most) => text.length > most ? text.slice(0, most - 1) + '\u2026' : text;
