/* pictures.js - Gram matrices as heat maps, and test images with what the networks say of them. */

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

const gramNetworks = [['teacher-1', 'Teacher'], ['student.start', 'Student, before'], ['baseline', 'Plain student, after'], ['student', null]];

function grams(run) {
  if (!run.grams || !run.grams.length) return null;
  const shown = run.grams[0].networks, names = gramNetworks.filter(([key]) => shown[key]).map(([key, title]) => [key, key === 'teacher-1' ? label(run, key) : title || label(run, key) + ', after']);
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
    element('div', {class: 'scale'}, '0', bitmap(64, 1, 'Colour scale: dark blue is 0, yellow the teacher\u2019s highest entry', i => heat(i / 63)), 'the teacher\u2019s highest entry (square root scale)'),
    run.grams.map(gram => element('div', {class: 'pair'}, heading(1, gram.pair.replace('-', ' and ')),
      element('div', {class: 'matrices'}, names.map(name => matrix(gram, name))))),
    folded('Table', 'the Gram matrices', table('Mean entry, and distance to the teacher', ['layers', ...names.map(([key, title]) => title), ...distances.map(([key, title]) => 'distance: ' + title.toLowerCase())],
      run.grams.map(gram => [gram.pair, ...names.map(([key]) => figures(gram.networks[key] && gram.networks[key].mean)),
        ...distances.map(([key]) => number(gram.networks[key] && gram.networks[key].distance, 3))]))));
}

const shortLabel = (run, part) => label(run, part).replace(' student', '').toLowerCase();

function sampleItem(run, image) {
  const samples = run.samples, area = samples.width * samples.height, pixels = bytes(image.pixels);
  const name = index => (run.summary.class_names || [])[index] || 'class ' + index;
  const paint = i => samples.channels === 3 ? [pixels[i], pixels[area + i], pixels[2 * area + i]] : [pixels[i], pixels[i], pixels[i]];
  return element('li', {}, bitmap(samples.width, samples.height, 'test image ' + image.index + ': ' + name(image.label), paint),
    element('b', {}, name(image.label)),
    Object.entries(image.said).map(([part, said]) => {
      const right = said.class === image.label;
      return element('span', {class: right ? null : 'wrong'}, (right ? '\u2713 ' : '\u2717 ') + shortLabel(run, part) + ': ' + name(said.class) + ', ' + number(100 * said.probability, 0) + '\u00a0%');
    }));
}

function samples(run) {
  if (!run.samples) return null;
  const right = (image, part) => image.said[part] && image.said[part].class === image.label;
  const both = image => image.said.baseline && image.said.student;
  const helped = run.samples.images.filter(image => both(image) && right(image, 'student') && !right(image, 'baseline'));
  const hurt = run.samples.images.filter(image => both(image) && !right(image, 'student') && right(image, 'baseline'));
  const first = run.samples.images.slice(0, 12);
  const list = (title, images) => images.length ? [heading(1, title), element('ul', {class: 'samples'}, images.map(image => sampleItem(run, image)))] : [];
  return section('samples', 'Test images',
    element('p', {class: 'soft'}, number(run.samples.looked_at, 0) + ' images, spread evenly over the test set, were looked at. ' +
      (find(run, 'baseline') && find(run, 'student') ? 'The ' + label(run, 'student').toLowerCase() + ' alone has ' + run.samples.helped + ' of them right, the plain student alone ' + run.samples.hurt + '.' : '')),
    list('The first ones', first), list('Right with distillation only', helped), list('Right without distillation only', hurt));
}
