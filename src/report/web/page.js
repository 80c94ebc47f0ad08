/* page.js - puts the page together. */

/* A part that a run's files do not suffice for is left out, and the page says so. */
function guarded(part, ...of) {
  try {
    return part(...of);
  } catch (error) {
    return element('p', {class: 'note missing'}, 'A part of this page is missing: the run\u2019s files are not as expected (' + error.message + ').');
  }
}

const details = run => [compared, training, losses, classes, grams, samples, about].map(part => guarded(part, run)).filter(Boolean);
const paragraph = (kind, text) => text ? element('p', {class: kind}, text) : null;

function one(run) {
  page.append(element('header', {}, element('h1', {}, run.name || 'A run'), ...[guarded(() => paragraph('lede', lede(run))),
    guarded(() => paragraph('soft state', stateText(run))), guarded(keyFigures, run, null)].filter(Boolean)));
  const shown = details(run), published = guarded(references);
  if (published) shown.splice(1, 0, published);
  page.append(...shown);
}

/* A run of several, folded; its charts are drawn when it is opened for the first time. */
function folder(run, open) {
  const before = waiting;
  waiting = [];
  level = 3;
  within = ', ' + runTitle(run);
  const made = element('details', {class: 'run', open: open ? '' : null}, element('summary', {}, element('h2', {}, runTitle(run))),
    ...[guarded(() => paragraph('soft', stateText(run) || lede(run)))].filter(Boolean), ...details(run));
  const own = waiting;
  level = 2;
  within = '';
  waiting = open ? [...before, ...own] : before;
  if (!open) made.addEventListener('toggle', () => own.forEach(drawNow => drawNow()), {once: true});
  return made;
}

function several() {
  const first = data.runs[0], same = data.groups.length === 1;
  page.append(element('header', {}, element('h1', {}, same ? first.name : data.groups.length > 4 ? data.groups.length + ' recipes' : data.groups.map(group => group.name).join(', ')),
    element('p', {class: 'lede'}, same ? data.runs.length + ' seeds of one recipe' + (first.data ? ', on ' + first.data : '') + '.'
      : data.runs.length + ' runs of ' + data.groups.length + ' recipes.'),
    ...[same ? guarded(keyFigures, first, data.groups[0]) : null].filter(Boolean)));
  page.append(section('compare', 'Side by side', ...[groupsTable, runsCharts, groupCurves].map(part => guarded(part)).filter(Boolean)),
    ...[guarded(references)].filter(Boolean), ...data.runs.map((run, i) => folder(run, i === 0)));
}

if (data.runs.length === 1) one(data.runs[0]);
else several();
page.append(element('footer', {}, 'Made by retort ' + data.retort + '. Charts: Chart.js ' + Chart.version + ', MIT License.'));
drawWaiting();
document.documentElement.dataset.drawn = charts.length;
