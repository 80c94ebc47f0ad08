/* page.js - draws the page from the data that C put into it.
 *
 * Texts from outside (names of recipes, classes, networks) are set as text nodes, never as HTML.
 * Every chart is a figure: what it shows, the canvas, and the same numbers as a table. */
'use strict';

const data = JSON.parse(document.getElementById('data').textContent);
const page = document.getElementById('page');

/* ---- small things ---- */

/* An element; attributes whose value is null are left out; children are nodes or texts. */
function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {}))
    if (value !== null && value !== undefined) made.setAttribute(name, value);
  made.append(...children.flat().filter(child => child !== null && child !== undefined));
  return made;
}

const has = value => typeof value === 'number' && isFinite(value);
const number = (value, digits) => has(value)
  ? value.toLocaleString('en', {minimumFractionDigits: digits, maximumFractionDigits: digits}) : '-';
const percent = value => number(value, 2);
const signed = value => has(value) ? (value < 0 ? '\u2212' : '+') + number(Math.abs(value), 2) : '-';
const figures = value => has(value) ? Number(value.toPrecision(4)).toLocaleString('en', {maximumSignificantDigits: 4}) : '-';
const spread = of => of ? percent(of.mean) + (of.count > 1 ? ' \u00b1 ' + percent(of.sd) : '') : '-';

function large(value) {
  if (!has(value)) return '-';
  for (const [unit, factor] of [['G', 1e9], ['M', 1e6], ['k', 1e3]])
    if (value >= factor) return Number((value / factor).toPrecision(3)).toLocaleString('en') + '\u00a0' + unit;
  return number(value, 0);
}

function duration(seconds) {
  if (!has(seconds)) return '-';
  const whole = Math.round(seconds);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return (parts[0] ? parts[0] + ' h ' : '') + (whole >= 60 ? parts[1] + ' min ' : '') + (parts[0] ? '' : parts[2] + ' s');
}

/* A table; rows of texts, the first of which names the row. texts: columns that are set left. */
function table(caption, head, rows, own, texts = 1) {
  const aligned = i => i < texts ? 'text' : null;
  return element('div', {class: 'scroll', tabindex: 0, role: 'region', 'aria-label': caption},
    element('table', {},
      element('caption', {}, caption),
      element('thead', {}, element('tr', {}, head.map((text, i) => element('th', {scope: 'col', class: aligned(i)}, text)))),
      element('tbody', {}, rows.map((row, r) => element('tr', {class: own && own(r) ? 'own' : null},
        row.map((text, i) => i === 0 ? element('th', {scope: 'row'}, text) : element('td', {class: aligned(i)}, text)))))));
}

const folded = (summary, ...children) => element('details', {}, element('summary', {}, summary), ...children);
const section = (id, title, ...children) => element('section', {'data-part': id, 'aria-label': title}, element('h2', {}, title), ...children);

/* ---- parts of a run ---- */

function label(run, part) {
  const several = run.models.filter(model => model.part.startsWith('teacher')).length > 1 ||
    run.epochs.some(line => line.part === 'teacher-2');
  if (part === 'baseline') return 'Plain student';
  if (part === 'student') return 'Distilled student';
  if (part.startsWith('teacher-')) return several ? 'Teacher ' + part.slice(8) : 'Teacher';
  return part.charAt(0).toUpperCase() + part.slice(1).replace('-', ' ');
}

const kind = part => part === 'baseline' ? 'plain' : part.startsWith('teacher') ? 'teacher' : 'student';
const dashes = {teacher: [6, 4], plain: [2, 3], student: []};
const points = {teacher: 'rect', plain: 'triangle', student: 'circle'};

/* Lines of metrics.jsonl by part, in the order in which they were trained. */
function parts(run) {
  const found = new Map();
  for (const line of run.epochs) {
    if (!found.has(line.part)) found.set(line.part, []);
    found.get(line.part).push(line);
  }
  return found;
}

/* Charts beside each other, as many as there is room for. */
const row = (...shown) => element('div', {class: shown.filter(Boolean).length === 2 ? 'row wide' : 'row'}, ...shown);

/* ---- charts ---- */

const charts = [];
let printing = false;
const lightColours = {ink: '#1b1f24', soft: '#59626d', line: '#dde1e6', paper: '#ffffff', teacher: '#6b7280',
  plain: '#b8590a', student: '#0b62a8', good: '#0b62a8', bad: '#b8590a', loss1: '#0b62a8', loss2: '#b37400',
  loss3: '#1f8a70', loss4: '#a3366f', loss5: '#6b7280', loss6: '#4b2e83'};

/* Paper is white whatever the screen was. */
const colour = name => printing ? lightColours[name]
  : getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim();

Chart.defaults.animation = false;
Chart.defaults.maintainAspectRatio = false;
Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
Chart.defaults.font.size = 12;
Chart.defaults.plugins.legend.labels.usePointStyle = true;
Chart.defaults.plugins.legend.labels.boxHeight = 7;
Chart.defaults.plugins.legend.position = 'bottom';
Chart.defaults.plugins.tooltip.mode = 'index';
Chart.defaults.plugins.tooltip.intersect = false;

/* configure: makes Chart.js's configuration; called again when colours change. */
function draw(canvas, configure) {
  Chart.defaults.color = colour('soft');
  Chart.defaults.borderColor = colour('line');
  const held = {canvas, configure, chart: new Chart(canvas, configure())};
  charts.push(held);
}

function drawAgain() {
  Chart.defaults.color = colour('soft');
  Chart.defaults.borderColor = colour('line');
  for (const held of charts) {
    held.chart.destroy();
    held.chart = new Chart(held.canvas, held.configure());
  }
}

matchMedia('(prefers-color-scheme: dark)').addEventListener('change', drawAgain);
addEventListener('beforeprint', () => { printing = true; drawAgain(); });
addEventListener('afterprint', () => { printing = false; drawAgain(); });

/* Charts are drawn when the page stands, so that their places have sizes. */
const waiting = [];
function chart(title, note, height, tabled, configure) {
  const canvas = element('canvas', {role: 'img', 'aria-label': title + '. The numbers are in the table below.'});
  waiting.push(() => draw(canvas, configure));
  return element('figure', {},
    element('figcaption', {}, element('h3', {}, title), note ? element('p', {}, note) : null),
    element('div', {class: 'chart', style: 'height: ' + height + 'px'}, canvas),
    tabled ? folded('Table', tabled) : element('div'));
}

const axis = (title, more) => ({title: {display: true, text: title}, border: {display: false}, ...more});

function lines(series, x, y, options = {}) {
  return () => ({
    type: 'line',
    data: {
      datasets: series.map((one, s) => ({
        label: one.label, data: one.points, borderColor: colour(one.colour), backgroundColor: colour(one.colour) + (options.stacked ? '66' : ''),
        borderDash: one.dash || [], borderWidth: 2, pointStyle: one.style || 'circle',
        pointRadius: options.stacked || one.points.length > 40 ? 0 : 2.5, fill: options.stacked ? (s === 0 ? 'origin' : '-1') : false, spanGaps: true,
      })),
    },
    options: {
      scales: {
        x: axis(x, {type: 'linear', ticks: {precision: 0}, grid: {display: false}}),
        y: axis(y, {type: options.log ? 'logarithmic' : 'linear', stacked: options.stacked, min: options.min, max: options.max}),
      },
    },
  });
}

function bars(names, values, colours, options = {}) {
  return () => ({
    type: 'bar',
    data: {labels: names, datasets: [{data: values, backgroundColor: colours.map(colour), maxBarThickness: 18}]},
    options: {
      indexAxis: 'y',
      plugins: {legend: {display: false}, tooltip: {callbacks: {label: item => (options.format || figures)(item.raw)}}},
      scales: {
        x: axis(options.title || '', {beginAtZero: true, ticks: {maxTicksLimit: 5, callback: options.format}}),
        y: {border: {display: false}, grid: {display: false}, ticks: {autoSkip: false}},
      },
    },
  });
}

/* ---- the head ---- */

const ratioText = (a, b) => has(a) && has(b) && b > 0 ? number(a / b, 2) + '\u00d7' : '-';
const find = (run, part) => run.models.find(model => model.part === part);

function stateText(run) {
  const last = run.epochs[run.epochs.length - 1];
  const place = last ? ' at ' + label(run, last.part) + ', epoch ' + last.epoch + ' of ' + last.epochs : '';
  return run.state === 'running' ? 'This run is going on' + place + '.'
    : run.state === 'stopped' ? 'This run was stopped' + place + '.' : null;
}

function lede(run) {
  const teacher = find(run, 'teacher-1'), plain = find(run, 'baseline'), student = find(run, 'student');
  if (!student) return null;
  let text = student.network + (teacher ? ', taught by ' + teacher.network : '') + (run.data ? ' on ' + run.data : '') + ': ' +
    percent(student.top1) + ' % top-1';
  if (plain) text += ', ' + signed(student.top1 - plain.top1) + ' points over the same network trained alone';
  return text + '.';
}

function keyFigures(run, group) {
  const teacher = find(run, 'teacher-1'), plain = find(run, 'baseline'), student = find(run, 'student');
  const many = group && group.runs.length > 1;
  const shown = [];
  const add = (name, value, small) => shown.push(element('div', {}, element('dt', {}, name),
    element('dd', {}, value, small ? element('small', {}, small) : null)));
  const deviation = of => many && of && of.count > 1 ? '\u00b1 ' + percent(of.sd) + ', ' + of.count + ' seeds' : null;
  const top = (what, model) => many && group[what] ? percent(group[what].mean) + ' %' : percent(model.top1) + ' %';
  if (student && plain)
    add('Gain by distillation', many && group.gain ? signed(group.gain.mean) : signed(student.top1 - plain.top1), deviation(group && group.gain) || 'points of top-1');
  if (student) add('Distilled student', top('student', student), deviation(group && group.student) || 'top-1');
  if (plain) add('Plain student', top('plain', plain), deviation(group && group.plain) || 'top-1');
  if (teacher) add('Teacher', top('teacher', teacher), deviation(group && group.teacher) || 'top-1');
  if (teacher && student) {
    add('Fewer parameters', ratioText(teacher.parameters, student.parameters), large(teacher.parameters) + ' to ' + large(student.parameters));
    add('Less compute', ratioText(teacher.macs, student.macs), large(teacher.macs) + ' to ' + large(student.macs) + ' MACs');
  }
  return shown.length ? element('dl', {class: 'figures'}, shown) : null;
}

/* ---- the compared models ---- */

function compared(run) {
  const models = run.models;
  if (!models.length) return null;
  const names = models.map(model => label(run, model.part)), colours = models.map(model => kind(model.part));
  const height = 70 + 28 * models.length;
  const small = (title, key, format, axisTitle) => chart(title, null, height, null, bars(names, models.map(model => model[key]), colours, {format, title: axisTitle}));
  return section('models', 'The networks',
    row(
      small('Accuracy', 'top1', value => number(value, value % 1 ? 2 : 0), 'top-1, % of the test images'),
      small('Size', 'parameters', large, 'parameters'),
      small('Compute', 'macs', large, 'multiply-accumulates per image')),
    table('The networks compared', ['', 'network', 'top-1 %', 'top-5 %', 'parameters', 'MACs', 'file, KiB', 'images/s', 'trained in'],
      models.map((model, i) => [names[i], model.network, percent(model.top1), percent(model.top5), number(model.parameters, 0), number(model.macs, 0),
        number(model.bytes / 1024, 1), number(model.images_per_second, 0), duration(model.training_seconds)]),
      i => models[i].part === 'student', 2));
}

/* ---- several runs ---- */

function groupsTable() {
  return table('Top-1 in percent, mean \u00b1 standard deviation over seeds', ['recipe', 'seeds', 'teacher', 'plain student', 'distilled student', 'gain, points'],
    data.groups.map(group => [group.name, String(group.runs.length), spread(group.teacher), spread(group.plain), spread(group.student),
      group.gain ? signed(group.gain.mean) + (group.gain.count > 1 ? ' \u00b1 ' + percent(group.gain.sd) : '') : '-']));
}

const runTitle = run => run.name + ', seed ' + (has(run.summary.seed) ? run.summary.seed : '?');

function runsChart() {
  const names = data.groups.map(group => group.name);
  const dots = (part, offset) => data.groups.flatMap((group, g) => group.runs.map(i => find(data.runs[i], part))
    .filter(model => model && has(model.top1)).map(model => ({x: model.top1, y: g + offset})));
  return chart('Every run', 'One mark for each seed.', 90 + 56 * names.length,
    table('Top-1 in percent, run by run', ['run', 'plain student', 'distilled student', 'gain, points', 'folder'],
      data.runs.map(run => {
        const plain = find(run, 'baseline'), student = find(run, 'student');
        return [runTitle(run), percent(plain && plain.top1), percent(student && student.top1), plain && student ? signed(student.top1 - plain.top1) : '-', run.folder];
      })),
    () => ({
      type: 'scatter',
      data: {datasets: [['Plain student', 'baseline', 'plain', .14], ['Distilled student', 'student', 'student', -.14]].map(([title, part, name, offset]) => ({
        label: title, data: dots(part, offset), backgroundColor: colour(name) + 'aa', borderColor: colour(name), pointStyle: points[name], pointRadius: 5}))},
      options: {
        plugins: {tooltip: {mode: 'nearest', callbacks: {label: item => item.dataset.label + ' ' + percent(item.parsed.x) + ' %'}}},
        scales: {
          x: axis('top-1, % of the test images', {}),
          y: {min: -.5, max: names.length - .5, reverse: true, border: {display: false}, grid: {display: false},
            ticks: {stepSize: 1, callback: value => Number.isInteger(value) ? names[value] : ''},
            afterBuildTicks: scale => { scale.ticks = names.map((name, i) => ({value: i})); }},
        },
      },
    }));
}

function runCurves() {
  const names = ['loss1', 'loss2', 'loss3', 'loss4', 'loss5', 'loss6'];
  const marks = ['circle', 'triangle', 'rect', 'rectRot', 'star', 'cross'];
  const shown = data.runs.map(run => ({run, lines: parts(run).get('student') || []})).filter(one => one.lines.length);
  if (!shown.length) return null;
  const longest = Math.max(...shown.map(one => one.lines.length));
  return chart('Distilled students in training', 'Accuracy on the training images, as augmented.', 300,
    table('Accuracy in training, %', ['epoch', ...shown.map(one => runTitle(one.run))],
      Array.from({length: longest}, (unused, i) => [String(i + 1), ...shown.map(one => percent(one.lines[i] && one.lines[i].train_top1))])),
    lines(shown.map((one, i) => ({label: runTitle(one.run), colour: names[i % 6], style: marks[Math.floor(i / 6) % 6], dash: i >= 6 ? [5, 3] : [],
      points: one.lines.map(line => ({x: line.epoch, y: line.train_top1}))})), 'epoch', 'accuracy, %'));
}

function references() {
  return data.references.map(known => element('div', {class: 'reference'},
    table('Published for ' + known.pair + ' on ' + known.data, ['', 'top-1'],
      known.figures.map(figure => [figure.what, figure.what === 'gain' ? signed(figure.value) + ' points over the plain student' : percent(figure.value) + ' %'])),
    element('p', {class: 'note'}, 'From ' + known.source + '. Budgets and definitions differ: it says what order of magnitude to expect.')));
}

/* ---- training ---- */

function series(run, value) {
  return [...parts(run)].map(([part, epochs]) => ({label: label(run, part), colour: kind(part), dash: dashes[kind(part)], style: points[kind(part)],
    points: epochs.map(line => ({x: line.epoch, y: value(line)})).filter(point => has(point.y))})).filter(one => one.points.length);
}

function seriesTable(caption, shown, format) {
  const epochs = [...new Set(shown.flatMap(one => one.points.map(point => point.x)))].sort((a, b) => a - b);
  return table(caption, ['epoch', ...shown.map(one => one.label)],
    epochs.map(epoch => [String(epoch), ...shown.map(one => { const at = one.points.find(point => point.x === epoch); return format(at && at.y); })]));
}

/* Where numbers of very different size stand side by side. */
const wantsLog = shown => {
  const values = shown.flatMap(one => one.points.map(point => point.y)).filter(value => value > 0);
  return values.length > 0 && Math.max(...values) / Math.min(...values) > 50;
};
const positive = shown => shown.map(one => ({...one, points: one.points.filter(point => point.y > 0)})).filter(one => one.points.length);

function stagesNote(run) {
  const starts = (parts(run).get('student') || []).filter((line, i, all) => i > 0 && line.stage !== all[i - 1].stage);
  return starts.map(line => ' The distilled student\u2019s stage ' + line.stage + ' begins with epoch ' + line.epoch + '.').join('');
}

function training(run) {
  if (!run.epochs.length) return null;
  const loss = series(run, line => line.loss), entropy = series(run, line => line.losses && line.losses.ce && line.losses.ce.raw), accuracy = series(run, line => line.train_top1);
  const log = wantsLog(loss);
  const twice = [...parts(run).values()].some(epochs => epochs.some(line => Object.keys(line.losses || {}).length > 1));
  const figures4 = value => figures(value);
  return section('training', 'Training',
    element('p', {class: 'soft'}, 'Means over an epoch, on the training images as augmented. The test images are looked at once per network, at its end.' + stagesNote(run)),
    row(
      chart('Accuracy', null, 300, seriesTable('Accuracy in training, %', accuracy, percent), lines(accuracy, 'epoch', 'accuracy, %')),
      chart('Loss', twice ? 'The weighted sum; a distilled student\u2019s has more terms.' : null, 300, seriesTable('Loss in training', loss, figures4),
        lines(log ? positive(loss) : loss, 'epoch', log ? 'loss, logarithmic' : 'loss', {log})),
      twice && entropy.length ? chart('Cross-entropy', 'The term that all networks have in common.', 300, seriesTable('Cross-entropy in training', entropy, figures4), lines(entropy, 'epoch', 'cross-entropy')) : null));
}

/* The terms of the student's loss. */
function losses(run) {
  const student = parts(run).get('student') || [];
  const order = ['ce', 'kl', 'gram']; // these have their colours in every page
  const rank = name => order.includes(name) ? order.indexOf(name) : order.length;
  const names = [...new Set(student.flatMap(line => Object.keys(line.losses || {})))].sort((a, b) => rank(a) - rank(b));
  if (names.length < 2) return null;
  const of = (key) => names.map((name, i) => ({label: name, colour: 'loss' + (i % 6 + 1), style: ['circle', 'triangle', 'rect', 'rectRot', 'star', 'cross'][i % 6],
    dash: [[], [6, 3], [2, 3]][i % 3],
    points: student.filter(line => line.losses && line.losses[name]).map(line => ({x: line.epoch, y: line.losses[name][key]}))}));
  const share = of('share').map(one => ({...one, dash: [],
    points: student.map(line => ({x: line.epoch, y: (line.losses && line.losses[one.label] || {share: 0}).share}))}));
  const norms = (title, key) => {
    const shown = of(key).filter(one => one.points.some(point => point.y > 0));
    return shown.length ? chart(title, 'Length of each term\u2019s weighted gradient, mean of four steps an epoch.', 280, seriesTable(title, shown, figures),
      lines(positive(shown), 'epoch', wantsLog(shown) ? 'norm, logarithmic' : 'norm', {log: wantsLog(shown)})) : null;
  };
  return section('losses', 'What pulls the distilled student',
    row(
      chart('Share of each term', 'Part of the weighted sum.', 280, seriesTable('Share of each term, %', share, percent), lines(share, 'epoch', 'share, %', {stacked: true, min: 0, max: 100})),
      norms('Gradient at the logits', 'gradient_logits'), norms('Gradient at the feature maps', 'gradient_taps')));
}

/* ---- classes ---- */

function classes(run) {
  const all = run.classes;
  if (!all || !all.length) return null;
  const most = 12, shortened = all.length > 2 * most + 6;
  const shown = shortened ? [...all.slice(0, most), ...all.slice(-most)] : all;
  const helped = all.filter(one => one.change > 0).length, hurt = all.filter(one => one.change < 0).length;
  const name = list => list.map(one => one.name + ' (' + signed(one.change) + ')').join(', ');
  const sentences = [helped + ' of ' + all.length + ' classes are told apart better after distillation, ' + hurt + ' worse.'];
  if (helped) sentences.push('Most helped: ' + name(all.filter(one => one.change > 0).slice(0, 3)) + '.');
  if (hurt) sentences.push('Most hurt: ' + name(all.filter(one => one.change < 0).slice(-3).reverse()) + '.');
  return section('classes', 'Class by class',
    element('p', {}, sentences.join(' ')),
    chart('Change of accuracy by distillation', shortened ? 'The ' + most + ' classes most helped and the ' + most + ' most hurt.' : null, 70 + 22 * shown.length,
      table('Accuracy for each class, %', ['class', 'plain student', 'distilled student', 'change, points'],
        all.map(one => [one.name, percent(one.plain), percent(one.student), signed(one.change)])),
      bars(shown.map(one => one.name.length > 24 ? one.name.slice(0, 23) + '\u2026' : one.name), shown.map(one => one.change), shown.map(one => one.change < 0 ? 'bad' : 'good'),
        {title: 'points, distilled minus plain student', format: value => value ? (value < 0 ? '\u2212' : '+') + figures(Math.abs(value)) : '0'})));
}

/* ---- pictures ---- */

const bytes = base64 => Uint8Array.from(atob(base64), character => character.charCodeAt(0));

function bitmap(width, height, description, paint) {
  const canvas = element('canvas', {width, height, role: 'img', 'aria-label': description});
  const context = canvas.getContext('2d'), image = context.createImageData(width, height);
  for (let i = 0; i < width * height; i++) image.data.set([...paint(i), 255], 4 * i);
  context.putImageData(image, 0, 0);
  return canvas;
}

/* From dark blue over grey to yellow: even in lightness, and the same for those who see no red. */
const ramp = [[0, 32, 77], [65, 77, 107], [124, 123, 120], [188, 175, 111], [255, 234, 70]];
function heat(part) {
  const at = Math.min(Math.max(part, 0), 1) * (ramp.length - 1), low = Math.min(Math.floor(at), ramp.length - 2);
  return ramp[low].map((value, i) => Math.round(value + (ramp[low + 1][i] - value) * (at - low)));
}

const gramNetworks = [['teacher-1', 'Teacher'], ['student.start', 'Student, before'], ['baseline', 'Plain student, after'], ['student', 'Distilled student, after']];

function grams(run) {
  if (!run.grams || !run.grams.length) return null;
  const shown = run.grams[0].networks, names = gramNetworks.filter(([key]) => shown[key]).map(([key, title]) => [key, key === 'teacher-1' ? label(run, key) : title]);
  const matrix = (gram, [key, title]) => {
    const one = gram.networks[key];
    if (!one) return null;
    const pixels = bytes(one.pixels);
    return element('figure', {}, bitmap(one.shown[1], one.shown[0], title + ', ' + gram.pair + ', ' + one.rows + ' by ' + one.columns, i => heat(pixels[i] / 255)),
      element('figcaption', {}, title, has(one.distance) ? element('div', {class: 'soft'}, 'distance ' + number(one.distance, 2)) : null));
  };
  const distances = names.filter(([key]) => run.grams.some(gram => gram.networks[key] && has(gram.networks[key].distance)));
  return section('grams', 'Gram matrices',
    element('p', {class: 'soft'}, 'How strongly the channels of two layers respond together: rows are channels of the first layer, columns of the second. Means over ' +
      (run.samples ? number(run.samples.looked_at, 0) + ' ' : '') + 'test images. Distance: how far a matrix is from the teacher\u2019s, as a share of the teacher\u2019s own size; 0 is equal.' +
      (distances.length ? '' : ' The networks differ in channels here, so that their matrices cannot be subtracted; in training an adapter stood between.')),
    element('div', {class: 'scale'}, '0', bitmap(64, 1, 'colour scale', i => heat(i / 63)), 'the teacher\u2019s highest entry (square root scale)'),
    run.grams.map(gram => element('div', {}, element('h3', {style: 'margin-top: 1.4rem'}, gram.pair.replace('-', ' and ')),
      element('div', {class: 'matrices'}, names.map(name => matrix(gram, name))))),
    folded('Table', table('Mean entry, and distance to the teacher', ['layers', ...names.map(([key, title]) => title), ...distances.map(([key, title]) => 'distance: ' + title.toLowerCase())],
      run.grams.map(gram => [gram.pair, ...names.map(([key]) => figures(gram.networks[key] && gram.networks[key].mean)),
        ...distances.map(([key]) => number(gram.networks[key] && gram.networks[key].distance, 3))]))));
}

const shortLabels = {teacher: 'teacher', plain: 'plain', student: 'distilled'};

function sampleItem(run, image) {
  const samples = run.samples, area = samples.width * samples.height, pixels = bytes(image.pixels);
  const name = index => (run.summary.class_names || [])[index] || 'class ' + index;
  const paint = i => samples.channels === 3 ? [pixels[i], pixels[area + i], pixels[2 * area + i]] : [pixels[i], pixels[i], pixels[i]];
  return element('li', {}, bitmap(samples.width, samples.height, 'test image ' + image.index + ': ' + name(image.label), paint),
    element('b', {}, name(image.label)),
    Object.entries(image.said).map(([part, said]) => {
      const right = said.class === image.label;
      return element('span', {class: right ? null : 'wrong'}, (right ? '\u2713 ' : '\u2717 ') + shortLabels[kind(part)] + ': ' + name(said.class) + ', ' + number(100 * said.probability, 0) + '\u00a0%');
    }));
}

function samples(run) {
  if (!run.samples) return null;
  const right = (image, part) => image.said[part] && image.said[part].class === image.label;
  const both = image => image.said.baseline && image.said.student;
  const helped = run.samples.images.filter(image => both(image) && right(image, 'student') && !right(image, 'baseline'));
  const hurt = run.samples.images.filter(image => both(image) && !right(image, 'student') && right(image, 'baseline'));
  const first = run.samples.images.slice(0, 12);
  const list = (title, images) => images.length ? [element('h3', {style: 'margin-top: 1.8rem'}, title), element('ul', {class: 'samples'}, images.map(image => sampleItem(run, image)))] : [];
  return section('samples', 'Test images',
    element('p', {class: 'soft'}, number(run.samples.looked_at, 0) + ' images, spread evenly over the test set, were looked at. ' +
      'The distilled student alone has ' + run.samples.helped + ' of them right, the plain student alone ' + run.samples.hurt + '.'),
    list('The first ones', first), list('Right with distillation only', helped), list('Right without distillation only', hurt));
}

/* ---- what was done ---- */

function about(run) {
  const summary = run.summary, machine = summary.machine || {}, versions = summary.versions || {}, facts = [];
  const add = (name, value) => { if (value !== undefined && value !== null && value !== '') facts.push(element('dt', {}, name), element('dd', {}, String(value))); };
  const seconds = run.epochs.reduce((sum, line) => sum + (has(line.seconds) ? line.seconds : 0), 0);
  add('Data', run.data + (has(summary.test_images) ? ', ' + number(summary.test_images, 0) + ' test images' : ''));
  add('Seed', summary.seed);
  add('Training took', seconds ? duration(seconds) : null);
  add('Processor', machine.processor);
  add('Cores, threads', has(machine.cores) ? machine.cores + ', ' + machine.threads : null);
  add('Precision', machine.precision);
  add('Versions', Object.entries(versions).map(([name, version]) => name + ' ' + version).join(', '));
  add('Folder', run.folder);
  return section('about', 'How it was made', element('dl', {class: 'facts'}, facts), element('h3', {style: 'margin-top: 1.4rem'}, 'Recipe'),
    element('pre', {tabindex: 0, 'aria-label': 'Recipe'}, run.recipe));
}

/* ---- the page ---- */

const details = run => [compared(run), training(run), losses(run), classes(run), grams(run), samples(run), about(run)];

function one(run) {
  page.append(element('header', {}, element('h1', {}, run.name), element('p', {class: 'lede'}, lede(run) || ''),
    stateText(run) ? element('p', {class: 'soft'}, stateText(run)) : null, keyFigures(run, null) || ''));
  page.append(...references(), ...details(run).filter(Boolean));
}

function several() {
  const first = data.runs[0], same = data.groups.length === 1;
  page.append(element('header', {}, element('h1', {}, same ? first.name : data.groups.length > 4 ? data.groups.length + ' recipes' : data.groups.map(group => group.name).join(', ')),
    element('p', {class: 'lede'}, same ? data.runs.length + ' seeds of one recipe' + (first.data ? ', on ' + first.data : '') + '.'
      : data.runs.length + ' runs of ' + data.groups.length + ' recipes.'),
    same ? keyFigures(first, data.groups[0]) || '' : ''));
  page.append(section('compare', 'Side by side', groupsTable(), runsChart(), runCurves() || '', ...references()));
  data.runs.forEach((run, i) => {
    const folder = element('details', {class: 'run'}, element('summary', {}, runTitle(run)),
      stateText(run) ? element('p', {class: 'soft'}, stateText(run)) : element('p', {class: 'soft'}, lede(run) || ''), ...details(run).filter(Boolean));
    folder.open = i === 0;
    page.append(folder);
  });
}

if (data.runs.length === 1) one(data.runs[0]);
else several();
page.append(element('footer', {}, 'Made by retort ' + data.retort + '. Charts: Chart.js ' + Chart.version + ', MIT License.'));
waiting.forEach(drawNow => drawNow());
document.documentElement.dataset.drawn = charts.length;
