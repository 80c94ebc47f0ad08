/* networks.js - a run's networks: its key figures, how they compare, class by class, and how they were made. */

/* ---- the head ---- */

const ratioText = (a, b) => has(a) && has(b) && b > 0 ? number(a / b, 2) + '\u00d7' : '-';

function stateText(run) {
  const last = run.epochs[run.epochs.length - 1];
  const place = last && has(last.epoch) ? ' at ' + label(run, last.part) + ', epoch ' + last.epoch + ' of ' + last.epochs : '';
  return run.state === 'running' ? 'This run is going on' + place + '.'
    : run.state === 'stopped' ? 'This run was stopped' + place + '.' : null;
}

/* "three networks of one kind" is said once. */
function taughtBy(run) {
  const names = teachersOf(run).map(model => model.network), kinds = [...new Set(names)];
  if (peersOf(run) > 1) return ', one of ' + peersOf(run) + ' that taught each other';
  if (!names.length) return '';
  const said = listed(kinds.map(name => { const of = names.filter(other => other === name).length; return (of > 1 ? of + '\u00a0\u00d7\u00a0' : '') + name; }));
  const generations = generationsOf(run);
  return generations > 1 ? ', generation ' + generations + ' of a line whose first was taught by ' + said : ', taught by ' + said;
}

function lede(run) {
  const plain = find(run, 'baseline'), student = find(run, 'student');
  if (!student) return null;
  return student.network + taughtBy(run) + (run.data ? ', on ' + run.data : '') + ': ' + percents(student.top1) + ' top-1' +
    (plain ? ', ' + signed(student.top1 - plain.top1) + ' points over the same network trained alone' : '') + '.';
}

const meanTop1 = models => models.reduce((sum, model) => sum + model.top1, 0) / models.length;

/* What a student is compared with: the largest teacher. */
const largest = models => models.reduce((most, model) => !most || model.parameters > most.parameters ? model : most, null);

function keyFigures(run, group) {
  const teachers = teachersOf(run), plain = find(run, 'baseline'), student = find(run, 'student'), teacher = largest(teachers);
  const many = group && group.runs.length > 1;
  const shown = [];
  const add = (name, value, small) => shown.push(element('div', {}, element('dt', {}, name),
    element('dd', {}, value, small ? element('small', {}, small) : null)));
  const deviation = of => many && of && of.count > 1 ? '\u00b1 ' + percent(of.sd) + ', ' + of.count + ' seeds' : null;
  const top = (what, value) => percents(many && group[what] ? group[what].mean : value);
  if (student && plain)
    add('Gain by distillation', many && group.gain ? signed(group.gain.mean) : signed(student.top1 - plain.top1), deviation(group && group.gain) || 'points of top-1');
  if (student) add(label(run, 'student'), top('student', student.top1), deviation(group && group.student) || 'top-1');
  if (plain) add('Plain student', top('plain', plain.top1), deviation(group && group.plain) || 'top-1');
  if (teacher) add(teachers.length > 1 ? teachers.length + ' teachers' : 'Teacher', top('teacher', meanTop1(teachers)), deviation(group && group.teacher) || (teachers.length > 1 ? 'top-1, their mean' : 'top-1'));
  if (teacher && student && teacher.parameters !== student.parameters) {
    add('Fewer parameters', ratioText(teacher.parameters, student.parameters), large(teacher.parameters) + ' to ' + large(student.parameters));
    add('Less compute', ratioText(teacher.macs, student.macs), large(teacher.macs) + ' to ' + large(student.macs) + '\u00a0MACs');
  }
  return shown.length ? element('dl', {class: 'figures'}, shown) : null;
}

/* ---- the compared models ---- */

function compared(run) {
  const models = run.models;
  if (!models.length) return null;
  const names = models.map(model => label(run, model.part)), colours = models.map(model => kind(model.part));
  const height = 12 + 28 * models.length;
  const small = (title, note, key, format) => chart(title, note, height, null, bars(names, models.map(model => model[key]), colours, format));
  return section('models', 'The networks',
    row(
      small('Accuracy', 'Top-1, % of the test images.', 'top1', percent),
      small('Size', 'Parameters.', 'parameters', large),
      small('Compute', 'Multiply-accumulates per image.', 'macs', large)),
    table('The networks compared', ['', 'network', 'top-1 %', 'top-5 %', 'parameters', 'MACs', 'file, KiB', 'images/s', 'trained in'],
      models.map((model, i) => [names[i], model.network || '-', percent(model.top1), percent(model.top5), number(model.parameters, 0), number(model.macs, 0),
        number(model.bytes / 1024, 1), number(model.images_per_second, 0), duration(model.training_seconds)]),
      i => models[i].part === 'student', 2));
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
      table('Accuracy for each class, %', ['class', 'plain student', label(run, 'student').toLowerCase(), 'change, points'],
        all.map(one => [one.name, percent(one.plain), percent(one.student), signed(one.change)])),
      bars(shown.map(one => shorten(one.name, 24)), shown.map(one => one.change), shown.map(one => one.change < 0 ? 'bad' : 'good'),
        value => value ? (value < 0 ? '\u2212' : '+') + figures(Math.abs(value)) : '0', 'points, ' + label(run, 'student').toLowerCase() + ' minus plain student')));
}

/* ---- what was done ---- */

const objectOf = value => value && typeof value === 'object' ? value : {};

function about(run) {
  const summary = run.summary, machine = objectOf(summary.machine), versions = objectOf(summary.versions), facts = [];
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
  return section('about', 'How it was made', element('dl', {class: 'facts'}, facts), heading(1, 'Recipe'),
    element('pre', {tabindex: 0, role: 'region', 'aria-label': 'Recipe' + within}, run.recipe));
}
