/* elements.js - elements, numbers as text, tables: what every part of the page is made of.
 *
 * Texts from outside (names of recipes, classes, networks) are set as text nodes, never as HTML. */
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

const percents = (value, unit) => has(value) ? percent(value) + (unit || '\u00a0%') : '-';

/* A table; rows of texts, the first of which names the row. texts: columns that are set left. */
function table(caption, head, rows, own, texts = 1) {
  const aligned = i => i < texts ? 'text' : null;
  return element('div', {class: 'scroll', tabindex: 0, role: 'region', 'aria-label': caption + within},
    element('table', {},
      element('caption', {}, caption),
      element('thead', {}, element('tr', {}, head.map((text, i) => text === '' ? element('td', {}) : element('th', {scope: 'col', class: aligned(i)}, text)))),
      element('tbody', {}, rows.map((row, r) => element('tr', {class: own && own(r) ? 'own' : null},
        row.map((text, i) => i === 0 ? element('th', {scope: 'row'}, text) : element('td', {class: aligned(i)}, text)))))));
}

const unseen = text => element('span', {class: 'unseen'}, text);
const folded = (summary, of, ...children) => element('details', {}, element('summary', {}, summary, unseen(' of ' + of)), ...children);

/* Headings never skip a level: where several runs are shown, a run's sections lie one level deeper. */
let level = 2, within = '';
const heading = (deeper, text) => element('h' + (level + deeper), {class: deeper ? 'small' : 'large'}, text);
const section = (id, title, ...children) => element('section', {'data-part': id, 'aria-label': title + within}, heading(0, title), ...children);

/* Charts beside each other, as many as there is room for. */
function row(...shown) {
  const there = shown.filter(Boolean).length;
  if (!there) return null;
  return element('div', {class: there === 1 ? 'row single' : there === 2 || there === 4 ? 'row wide' : 'row'}, ...shown);
}

/* ---- parts of a run ---- */

const isTeacher = part => part.startsWith('teacher-');
const find = (run, part) => run.models.find(model => model.part === part);
const teachersOf = run => run.models.filter(model => isTeacher(model.part));
const listed = texts => texts.length > 1 ? texts.slice(0, -1).join(', ') + ' and ' + texts[texts.length - 1] : texts.join('');

/* Students that taught each other, and generations: how many. */
const peersOf = run => Number(run.peers) > 1 ? Number(run.peers) : 1;
const generationsOf = run => 1 + Math.max(0, ...[...parts(run).keys()].filter(part => part.startsWith('generation-')).map(part => Number(part.slice(11)) || 0));

function label(run, part) {
  const several = teachersOf(run).length > 1 || run.epochs.some(line => line.part === 'teacher-2');
  if (part === 'baseline') return 'Plain student';
  if (part === 'student') return peersOf(run) > 1 ? 'Mutual student' : 'Distilled student';
  if (isTeacher(part)) return several ? 'Teacher ' + part.slice(8) : 'Teacher';
  return part.charAt(0).toUpperCase() + part.slice(1).replace('-', ' ');
}

const kind = part => part === 'baseline' ? 'plain' : isTeacher(part) ? 'teacher' : part.startsWith('generation-') ? 'earlier' : 'student';

/* How a part's curve is drawn; several teachers, or generations, differ in their marks and dashes. */
function look(part) {
  const marks = {teacher: ['rect', 'rectRot', 'crossRot', 'star'], plain: ['triangle'], student: ['circle'], earlier: ['rectRot', 'star', 'crossRot', 'rect']};
  const dashes = {teacher: [[6, 4], [10, 3], [3, 3], [12, 3, 3, 3]], plain: [[2, 3]], student: [[]], earlier: [[8, 3, 2, 3], [4, 2], [10, 4], [2, 2]]};
  const of = kind(part), which = Math.max(0, Number(part.replace(/^[^0-9]*/, '')) - 1) % marks[of].length;
  return {colour: of, style: marks[of][which], dash: dashes[of][which]};
}

/* Lines of metrics.jsonl by part, in the order in which they were trained. */
function parts(run) {
  const found = new Map();
  for (const line of run.epochs) {
    if (!has(line.epoch)) continue;
    if (!found.has(line.part)) found.set(line.part, []);
    found.get(line.part).push(line);
  }
  return found;
}
