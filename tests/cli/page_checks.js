/* page_checks.js - what a machine can check of a page for those who see, hear, print or touch it. page.sh puts it
 * at the end of a copy of the page, in a frame as wide as a phone or a desk; what is wrong goes to the parent. */
'use strict';

function problemsOfPage() {
  const problems = [], root = document.documentElement;
  const all = selector => [...document.querySelectorAll(selector)];
  const check = (fine, what) => { if (!fine) problems.push(what); };
  const text = node => node.textContent.trim();

  check(root.lang === 'en', 'no language');
  check(document.title, 'no title');
  check(all('h1').length === 1, all('h1').length + ' headings of level 1');
  all('h1, h2, h3, h4, h5, h6').reduce((above, heading) => {
    const now = Number(heading.tagName[1]);
    check(now <= above + 1, 'heading "' + text(heading) + '" skips a level');
    check(text(heading), 'an empty heading');
    return now;
  }, 0);

  for (const canvas of all('canvas')) check(canvas.getAttribute('role') === 'img' && canvas.getAttribute('aria-label'), 'a canvas without a label');
  for (const canvas of all('.chart canvas')) check(Chart.getChart(canvas), 'a chart that is not drawn: ' + canvas.getAttribute('aria-label'));
  for (const figure of all('figure')) {
    const box = figure.querySelector('.chart') ? figure.querySelector('table') || figure.closest('section').querySelector('table') : true;
    check(box, 'no table for the chart "' + text(figure.querySelector('figcaption')) + '"');
  }
  for (const table of all('table')) {
    check(table.caption && text(table.caption), 'a table without a caption');
    check([...table.querySelectorAll('th')].every(cell => cell.scope && text(cell)), 'a heading without scope or text in "' + text(table) + '"');
    check([...table.tBodies[0].rows].every(row => row.cells.length === table.tHead.rows[0].cells.length), 'a row of another length in "' + text(table.caption) + '"');
  }
  const labels = all('section').map(one => one.getAttribute('aria-label'));
  check(new Set(labels).size === labels.length, 'two sections of one name: ' + labels);
  for (const box of all('.scroll, pre')) check(box.tabIndex === 0 && box.getAttribute('role') === 'region' && box.getAttribute('aria-label'), 'a box that scrolls without focus and label');
  for (const one of all('summary')) check(text(one), 'an empty summary');
  check(!all('.missing').length, 'missing: ' + all('.missing').map(text));
  for (const word of ['undefined', 'NaN', '[object', 'Infinity', 'null'])
    check(!all('h1, h2, h3, h4, p, td, th, dd, figcaption, summary').some(one => text(one).includes(word) && !one.closest('pre')), '"' + word + '" in a text');
  check(Chart.defaults.animation === false, 'something moves');
  check(document.scripts.length === 4 && !window.intruder, 'a script from outside');

  /* WCAG 2: 4.5 for texts, 3 for what is drawn. */
  const named = name => getComputedStyle(root).getPropertyValue('--' + name).trim();
  const lightness = colour => [1, 3, 5].map(at => parseInt(colour.slice(at, at + 2), 16) / 255)
    .map(part => part <= .04045 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4)
    .reduce((sum, part, i) => sum + part * [.2126, .7152, .0722][i], 0);
  function contrasts(theme) {
    const of = (name, behind, least) => {
      const [high, low] = [lightness(named(name)), lightness(named(behind))].sort((a, b) => b - a), found = (high + .05) / (low + .05);
      check(found >= least, theme + ': ' + name + ' on ' + behind + ' has a contrast of ' + found.toFixed(2));
    };
    for (const behind of ['paper', 'wash']) for (const name of ['ink', 'soft']) of(name, behind, 4.5);
    for (const name of ['teacher', 'plain', 'student', 'earlier', 'good', 'bad', 'loss1', 'loss2', 'loss3', 'loss4', 'loss5', 'loss6']) of(name, 'paper', 3);
    check(getComputedStyle(document.body).backgroundColor === 'rgb(' + [1, 3, 5].map(at => parseInt(named('paper').slice(at, at + 2), 16)).join(', ') + ')', theme + ': another background');
  }
  contrasts(matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light');
  check(root.scrollWidth <= root.clientWidth, root.scrollWidth + ' pixels wide, in ' + root.clientWidth);

  dispatchEvent(new Event('beforeprint'));
  check(named('paper') === '#ffffff', 'paper is ' + named('paper'));
  contrasts('print');
  for (const box of all('.chart')) {
    const canvas = box.querySelector('canvas');
    check(!box.offsetWidth || Math.abs(canvas.offsetWidth - box.clientWidth) <= 1, 'print: a chart of ' + canvas.offsetWidth + ' in ' + box.clientWidth + ' pixels');
  }
  check(all('main')[0].scrollWidth <= 681, 'print: ' + all('main')[0].scrollWidth + ' pixels wide');
  dispatchEvent(new Event('afterprint'));
  check(root.scrollWidth <= root.clientWidth, 'after printing: ' + root.scrollWidth + ' pixels wide, in ' + root.clientWidth);
  return [matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light', root.dataset.drawn + ' charts', ...problems].join('; ');
}

addEventListener('load', async () => {
  let found;
  try {
    // Runs that are folded are drawn when they are opened.
    document.querySelectorAll('details.run').forEach(run => { run.open = true; });
    await new Promise(done => setTimeout(done, 500));
    found = problemsOfPage();
  } catch (error) {
    found = 'the checks failed: ' + error.message;
  }
  parent.postMessage(found, '*');
});
