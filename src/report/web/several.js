/* several.js - runs side by side: the groups' means and deviations, every run, curves, and what others
 * have published about a pair. A group is one recipe with several seeds. */

const plusMinus = of => of ? signed(of.mean) + (of.count > 1 ? ' \u00b1 ' + percent(of.sd) : '') : '-';
const nameAndSeed = run => run.name + ', seed ' + (has(run.summary.seed) ? run.summary.seed : '?');
/* Two runs of one name and seed are told apart by their folders. */
const runTitle = run => nameAndSeed(run) + (data.runs.filter(other => nameAndSeed(other) === nameAndSeed(run)).length > 1 ? ', in ' + run.folder : '');

function groupsTable() {
  const student = group => find(data.runs[group.runs[0]], 'student') || {};
  return table('Top-1 in percent, mean \u00b1 standard deviation over seeds',
    ['recipe', 'seeds', 'teacher', 'plain student', 'distilled student', 'gain, points', 'parameters', 'MACs'],
    data.groups.map(group => [group.name, String(group.runs.length), spread(group.teacher), spread(group.plain), spread(group.student), plusMinus(group.gain),
      large(student(group).parameters), large(student(group).macs)]));
}

/* Run by run, and below several seeds of a recipe their mean. */
function runsTable() {
  const rows = data.groups.flatMap(group => [
    ...group.runs.map(i => data.runs[i]).map(run => {
      const teachers = teachersOf(run), plain = find(run, 'baseline'), student = find(run, 'student');
      return [runTitle(run), percent(teachers.length ? meanTop1(teachers) : null), percent(plain && plain.top1), percent(student && student.top1),
        plain && student ? signed(student.top1 - plain.top1) : '-', run.folder];
    }),
    ...(group.runs.length > 1 ? [[group.name + ', mean \u00b1 sd', spread(group.teacher), spread(group.plain), spread(group.student), plusMinus(group.gain), '']] : []),
  ]);
  return table('Top-1 in percent, run by run', ['run', 'teacher', 'plain student', 'distilled student', 'gain, points', 'folder'], rows, i => rows[i][5] === '');
}

function runsCharts() {
  const names = data.groups.map(group => group.name), several = data.groups.some(group => group.runs.length > 1);
  const of = (group, value) => group.runs.map(i => value(data.runs[i])).filter(has);
  const top1 = part => run => (find(run, part) || {}).top1;
  const gain = run => top1('student')(run) - top1('baseline')(run);
  const set = (title, value, key, style, offset) => ({label: title, colour: key === 'gain' ? 'student' : key, style, offset,
    values: data.groups.map(group => of(group, value)), means: data.groups.map(group => group[key])});
  const note = 'One mark for each seed' + (several ? '; strokes: mean \u00b1 standard deviation.' : '.');
  const height = 90 + 60 * names.length;
  const gains = set('Gain', gain, 'gain', 'circle', 0);
  return row(
    chart('Accuracy, every run', note, height, runsTable(),
      dots(names, [set('Plain student', top1('baseline'), 'plain', 'triangle', .16), set('Distilled student', top1('student'), 'student', 'circle', -.16)],
        'top-1, % of the test images', ' %')),
    gains.values.some(values => values.length) ? chart('Gain over the plain student, every run', note, height,
      table('Gain, points of top-1', ['recipe', 'mean \u00b1 sd', 'each seed'], data.groups.map((group, g) => [group.name, plusMinus(group.gain), gains.values[g].map(signed).join(', ') || '-'])),
      dots(names, [gains], 'points of top-1', ' points')) : null);
}

/* A part's curve as its group's mean and deviation, epoch by epoch. */
function groupCurve(group, part, key) {
  const at = new Map();
  for (const i of group.runs)
    for (const line of parts(data.runs[i]).get(part) || [])
      if (has(line[key])) at.set(line.epoch, [...(at.get(line.epoch) || []), line[key]]);
  return [...at].sort((a, b) => a[0] - b[0]).map(([x, values]) => {
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const sd = values.length > 1 ? Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1)) : 0;
    return {x, y: mean, sd};
  });
}

function groupCurves() {
  const names = ['loss1', 'loss2', 'loss3', 'loss4', 'loss5', 'loss6'], marks = ['circle', 'triangle', 'rect', 'rectRot', 'star', 'crossRot'];
  const curves = key => data.groups.length === 1
    ? ['baseline', 'student'].map(part => ({label: label(data.runs[0], part), ...look(part), points: groupCurve(data.groups[0], part, key)}))
    : data.groups.map((group, g) => ({label: group.name, colour: names[g % 6], style: marks[Math.floor(g / 6) % 6], dash: g >= 6 ? [5, 3] : [], points: groupCurve(group, 'student', key)}));
  const drawn = (title, note, key) => {
    const shown = curves(key).filter(one => one.points.length);
    if (!shown.length) return null;
    const deviations = shown.some(one => one.points.some(point => point.sd));
    const epochs = [...new Set(shown.flatMap(one => one.points.map(point => point.x)))].sort((a, b) => a - b);
    const cell = point => point ? percent(point.y) + (point.sd ? ' \u00b1 ' + percent(point.sd) : '') : '-';
    return chart(title, note + (deviations ? ' Mean over seeds; bands: \u00b1 standard deviation.' : ''), 320,
      table(title + ', %', ['epoch', ...shown.map(one => one.label)], epochs.map(epoch => [String(epoch), ...shown.map(one => cell(one.points.find(point => point.x === epoch)))])),
      lines(shown, 'epoch', 'accuracy, %'));
  };
  const who = data.groups.length === 1 ? 'Students in training' : 'Distilled students in training';
  return row(drawn(who, 'Accuracy on the training images, as augmented.', 'train_top1'), drawn(who + ', held-out images', 'Accuracy on images never trained on.', 'val_top1'));
}

/* ---- what others have published ---- */

/* A published figure's counterpart of a group. */
function counterpart(group, what) {
  const run = data.runs[group.runs[0]], teacher = largest(teachersOf(run)), student = find(run, 'student');
  const found = {teacher: () => spread(group.teacher), 'plain student': () => spread(group.plain), 'distilled student': () => spread(group.student),
    gain: () => plusMinus(group.gain), 'fewer parameters': () => ratioText(teacher.parameters, student.parameters), 'less compute': () => ratioText(teacher.macs, student.macs)}[what];
  return found ? found() : '-';
}

function reference(known) {
  const groups = data.groups.filter(group => group.runs.some(run => known.runs.includes(run))), single = data.groups.length === 1;
  const figure = one => one.what === 'gain' ? signed(one.value) : one.what.includes(' ') && one.what !== 'plain student' ? number(one.value, 2) + '\u00d7' : percent(one.value);
  const unit = what => what === 'gain' ? 'gain, points over the plain student' : what === 'fewer parameters' || what === 'less compute' ? what : what + ', top-1 %';
  const rows = known.figures.map(one => [unit(one.what), figure(one), ...groups.map(group => counterpart(group, one.what))]);
  rows.push([unit('distilled student'), '-', ...groups.map(group => counterpart(group, 'distilled student'))]);
  return [table(known.pair + ' on ' + known.data, ['', 'published', ...groups.map(group => single ? 'here' : group.name)], rows),
    element('p', {class: 'note'}, 'Published: ' + known.source + '. Budgets, augmentation and definitions differ, so these say what order of magnitude to expect.')];
}

const references = () => data.references.length ? section('published', 'Published figures', data.references.map(reference).flat()) : null;
