/* training.js - a run's curves: accuracy, losses, each term's share, and where stages begin. */

function series(run, value) {
  return [...parts(run)].map(([part, epochs]) => ({label: label(run, part), ...look(part),
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

/* The stages of a part but the first: the epochs with which they begin. */
const stagesOf = lines => lines.filter((line, i) => i > 0 && line.stage !== lines[i - 1].stage).map(line => ({epoch: line.epoch, stage: line.stage}));

function stagesNote(run) {
  return [...parts(run)].filter(([part]) => kind(part) !== 'teacher').map(([part, all]) => stagesOf(all)
    .map(one => ' ' + label(run, part) + ': stage ' + one.stage + ' begins with epoch ' + one.epoch + '.').join('')).join('');
}

function training(run) {
  const loss = series(run, line => line.loss), entropy = series(run, line => line.losses && line.losses.ce && line.losses.ce.raw);
  const accuracy = series(run, line => line.train_top1), heldOut = series(run, line => line.val_top1);
  if (!loss.length && !accuracy.length) return null;
  const log = wantsLog(loss);
  const twice = [...parts(run).values()].some(epochs => new Set(epochs.flatMap(line => Object.keys(line.losses || {}))).size > 1);
  return section('training', 'Training',
    element('p', {class: 'soft'}, 'Means over an epoch, on the training images as augmented. The test images are looked at once per network, at its end.' + stagesNote(run)),
    row(
      accuracy.length ? chart('Accuracy', 'On the training images, as augmented.', 300, seriesTable('Accuracy in training, %', accuracy, percent), lines(accuracy, 'epoch', 'accuracy, %')) : null,
      heldOut.length ? chart('Accuracy on held-out images', 'Never trained on, looked at after each epoch.', 300, seriesTable('Accuracy on held-out images, %', heldOut, percent),
        lines(heldOut, 'epoch', 'accuracy, %')) : null,
      loss.length ? chart('Loss', twice ? 'The weighted sum; a distilled student\u2019s has more terms.' : 'Mean of an epoch.', 300, seriesTable('Loss in training', loss, figures),
        lines(log ? positive(loss) : loss, 'epoch', log ? 'loss, logarithmic' : 'loss', {log})) : null,
      twice && entropy.length ? chart('Cross-entropy', 'The term that all networks have in common.', 300, seriesTable('Cross-entropy in training', entropy, figures), lines(entropy, 'epoch', 'cross-entropy')) : null));
}

/* The terms of the student's loss. */
function losses(run) {
  const student = parts(run).get('student') || [];
  const order = ['ce', 'kl', 'gram']; // these have their colours in every page
  const rank = name => order.includes(name) ? order.indexOf(name) : order.length;
  const names = [...new Set(student.flatMap(line => Object.keys(line.losses || {})))].sort((a, b) => rank(a) - rank(b));
  if (names.length < 2) return null;
  const place = name => (order.includes(name) ? rank(name) : order.length + names.filter(other => !order.includes(other)).indexOf(name)) % 6;
  const of = key => names.map(name => ({label: name, colour: 'loss' + (place(name) + 1), style: ['circle', 'triangle', 'rect', 'rectRot', 'star', 'crossRot'][place(name)],
    dash: [[], [6, 3], [2, 3]][place(name) % 3],
    points: student.filter(line => line.losses && line.losses[name]).map(line => ({x: line.epoch, y: line.losses[name][key]}))}));
  const stages = stagesOf(student);
  const share = of('share').map(one => ({...one, dash: [],
    points: student.map(line => ({x: line.epoch, y: (line.losses && line.losses[one.label] || {share: 0}).share}))}));
  const norms = (title, key) => {
    const shown = of(key).filter(one => one.points.some(point => point.y > 0));
    return shown.length ? chart(title, 'Length of each term\u2019s weighted gradient, mean of four steps an epoch.', 280, seriesTable(title, shown, figures),
      lines(positive(shown), 'epoch', wantsLog(shown) ? 'norm, logarithmic' : 'norm', {log: wantsLog(shown), stages})) : null;
  };
  return section('losses', 'What pulls the ' + label(run, 'student').toLowerCase(),
    row(
      chart('Share of each term', 'Part of the weighted sum.', 280, seriesTable('Share of each term, %', share, percent), lines(share, 'epoch', 'share, %', {stacked: true, min: 0, max: 100, stages})),
      norms('Gradient at the logits', 'gradient_logits'), norms('Gradient at the feature maps', 'gradient_taps')));
}
