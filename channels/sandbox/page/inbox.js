'use strict';

// The inbox page. What arrives was written by anybody: it is only ever put
// into the page as text (textContent, value), and a mail's HTML only into a
// frame that may do nothing.

const CHANNELS = {
  email: { name: 'Email', icon: 'M3 6.5h18v11H3zM3.5 7l8.5 6.5L20.5 7' },
  apns: { name: 'APNs', icon: 'M8 3h8a1.5 1.5 0 0 1 1.5 1.5v15A1.5 1.5 0 0 1 16 21H8a1.5 1.5 0 0 1-1.5-1.5v-15A1.5 1.5 0 0 1 8 3zM10.5 5.5h3' },
  fcm: { name: 'FCM', icon: 'M5 16a7 7 0 0 1 14 0zM8 9.8 6.3 7M16 9.8 17.7 7M9.5 13h.01M14.5 13h.01' },
  webpush: { name: 'Web Push', icon: 'M3.5 5.5h17v13h-17zM3.5 9h17M6 7.25h.01M8.3 7.25h.01' },
  webhook: { name: 'Webhook', icon: 'M8 8l-4.5 4L8 16M16 8l4.5 4L16 16M13.5 6l-3 12' },
};
const FIRST = 500; // messages that a fresh page asks for

const $ = (id) => document.getElementById(id);
const page = {
  rows: new Map(), // seq → summary
  state: null,
  channel: '',
  search: '',
  open: 0,
  chosen: false, // somebody chose what is open; nothing replaces it then
  asked: 0, // messages asked for, so that a late answer is dropped
  tab: '',
  source: null,
  drawn: {}, // what each part of the page was last drawn from
};

// el makes an element: properties, then children, of which strings are text.
function el(name, props, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(props || {})) {
    if (key === 'dataset') Object.assign(node.dataset, value);
    else if (key.includes('-') || key === 'role' || key === 'for') node.setAttribute(key, value);
    else node[key] = value;
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function mark(channel) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  path.setAttribute('d', CHANNELS[channel].icon);
  svg.append(path);
  return el('span', { className: 'mark', 'aria-hidden': 'true', dataset: { channel } }, svg);
}

const clockTime = (at) => new Date(at).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false });

function badge(message) {
  if (message.channel !== 'webhook' || !message.verified) return null;
  const kind = { 'verified': 'good', 'bad signature': 'bad' }[message.verified] || 'warn';
  return el('span', { className: 'badge ' + kind }, message.verified);
}

function titleOf(message) {
  if (message.title) return message.title;
  return { email: '(no subject)', webhook: 'Webhook' }[message.channel] || message.text || '(silent push)';
}

// ——— the list ———

function matches(message) {
  if (page.channel && message.channel !== page.channel) return false;
  if (!page.search) return true;
  const text = [message.to, message.from, message.title, message.text, message.id].join('\n').toLowerCase();
  return page.search.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

function row(message, fresh) {
  const button = el('button', { type: 'button', className: fresh ? 'row fresh' : 'row', dataset: { seq: message.seq, channel: message.channel } },
    mark(message.channel),
    el('span', { className: 'title' }, titleOf(message)),
    el('time', { dateTime: message.at }, clockTime(message.at)),
    el('span', { className: 'to' },
      el('span', {}, el('span', { className: 'hidden' }, CHANNELS[message.channel].name + ' to '), message.to), badge(message)),
    el('span', { className: 'snippet' }, snippetOf(message)));
  button.setAttribute('aria-current', String(message.seq === page.open));
  return el('li', {}, button);
}

function snippetOf(message) {
  return (message.title ? message.text || '' : '') || message.note || '\u00a0';
}

function drawList() {
  const wanted = [...page.rows.values()].filter(matches).sort((a, b) => b.seq - a.seq);
  $('list').replaceChildren(...wanted.map((message) => row(message, false)));
  drawEmpty(wanted.length);
  follow();
}

function drawEmpty(shown) {
  const nothing = page.rows.size === 0;
  $('inbox').classList.toggle('nothing', nothing);
  $('empty').hidden = shown > 0;
  if (shown > 0) return;
  $('empty').replaceChildren(...(nothing ? welcome() : [
    el('h2', {}, 'Nothing matches'), el('p', {}, 'Other messages are here: change the search or choose “All”.')]));
  if (!page.open) choose();
}

// welcome tells what to do when nothing has arrived.
function welcome() {
  const hint = page.state && page.state.hint;
  return [
    el('h2', {}, 'Nothing has arrived yet'),
    el('p', {}, 'Every email, push and webhook that the gateway sends lands here, within a moment and without a reload. Nothing leaves this machine.'),
    el('p', {}, hint ? 'For a first one, paste this into a terminal:' : 'For a first one, paste the curl line that the terminal shows.'),
    hint ? el('pre', { className: 'code', tabIndex: 0 }, hint) : null,
  ].filter(Boolean);
}

function drawFilters() {
  const counts = (page.state && page.state.counts) || {};
  const total = Object.values(counts).reduce((sum, n) => sum + n, 0);
  const chips = [['', 'All', total], ...Object.entries(CHANNELS).map(([channel, c]) => [channel, c.name, counts[channel] || 0])];
  const focused = document.activeElement && document.activeElement.dataset.filter;
  $('filters').replaceChildren(...chips.map(([channel, name, n]) => el('button', {
    type: 'button', dataset: { filter: channel || 'all' }, 'aria-pressed': String(channel === page.channel),
    onclick: () => { page.channel = channel; drawFilters(); drawList(); },
  }, name, el('b', {}, n.toLocaleString('en')))));
  if (focused) document.querySelector(`[data-filter="${CSS.escape(focused)}"]`).focus();
}

// arrive adds one message on top; events come oldest first.
function arrive(message) {
  if (page.rows.has(message.seq)) return;
  page.rows.set(message.seq, message);
  if (page.rows.size === 1 && !following()) choose();
  if (matches(message)) $('list').prepend(row(message, true));
  drawEmpty($('list').childElementCount);
  follow();
}

// ——— the newest message, while none is chosen ———

const wide = matchMedia('(min-width: 821px)'); // as in the style: there is room for a message beside the list
const TOGETHER = 2000; // milliseconds within which messages are taken for one notification's

// following says whether the newest message may open by itself: there is room,
// nobody chose another, and nobody is reading what is open.
function following() {
  return wide.matches && !page.chosen && !(page.open && $('detail').matches(':hover, :focus-within'));
}

let settling;
function follow() {
  clearTimeout(settling);
  settling = setTimeout(openNewest, 150); // once what comes together is here
}

function openNewest() {
  const message = newest();
  if (message && message.seq !== page.open && following()) show(message.seq, false);
}

// newest is the newest of the listed messages, or the mail that came with it:
// a notification's mail, pushes and webhook arrive in no certain order, and
// the mail shows the most.
function newest() {
  const listed = [...page.rows.values()].filter(matches).sort((a, b) => b.seq - a.seq);
  const together = listed.filter((message) => Date.parse(listed[0].at) - Date.parse(message.at) < TOGETHER);
  return together.find((message) => message.channel === 'email') || listed[0];
}

$('list').addEventListener('click', (event) => {
  const button = event.target.closest('.row');
  if (button) show(Number(button.dataset.seq), true);
});

$('list').addEventListener('keydown', (event) => {
  const step = { ArrowDown: 'nextElementSibling', ArrowUp: 'previousElementSibling' }[event.key];
  const item = step && event.target.closest('li');
  if (!item || !item[step]) return;
  event.preventDefault();
  item[step].querySelector('.row').focus();
});

$('search').addEventListener('input', (event) => { page.search = event.target.value.trim(); drawList(); });

// What was cleared leaves the page when the server's next state says so, as
// it does in every other window.
$('clear').addEventListener('click', () => fetch('messages', { method: 'DELETE' }));

// dropBefore forgets what the server no longer keeps.
function dropBefore(first) {
  for (const seq of page.rows.keys()) {
    if (seq >= first) continue;
    page.rows.delete(seq);
    const button = document.querySelector(`.row[data-seq="${seq}"]`);
    if (button) button.parentElement.remove();
  }
  drawEmpty($('list').childElementCount);
}

// ——— one message ———

function choose() {
  $('detail').replaceChildren(page.rows.size
    ? el('p', { className: 'choose' }, 'Choose a message to see it as its recipient would.')
    : el('div', { className: 'empty' }, el('img', { src: 'icon.svg', alt: '', width: 56, height: 56 }), ...welcome()));
}

function close() {
  page.open = 0;
  page.chosen = false;
  page.asked++;
  delete $('inbox').dataset.open;
  choose();
  markOpen();
}

function markOpen() {
  for (const button of document.querySelectorAll('.row')) button.setAttribute('aria-current', String(Number(button.dataset.seq) === page.open));
}

// show opens a message: one that somebody chose, or one that opens by itself
// and so takes neither the focus nor a phone's screen.
async function show(seq, chosen) {
  const mine = ++page.asked;
  page.chosen = chosen;
  const answer = await fetch('messages/' + seq).catch(() => null); // #live says that the connection is lost
  const message = answer && await answer.json();
  if (!message || mine !== page.asked) return;
  if (!answer.ok) {
    page.chosen = false;
    if (chosen) $('detail').replaceChildren(el('p', { className: 'choose' }, message.detail));
    return;
  }
  page.open = seq;
  if (chosen) $('inbox').dataset.open = '';
  markOpen();
  draw(message);
  $('detail').scrollTop = 0;
  if (chosen) $('detail').focus({ preventScroll: true });
}

function draw(message) {
  const tabs = tabsOf(message);
  if (!tabs.some(([name]) => name === page.tab)) page.tab = tabs[0][0];
  const pane = el('div', { className: 'pane', id: 'pane', role: 'tabpanel', 'aria-labelledby': 'tab-' + page.tab });
  const bar = el('div', { className: 'tabs', role: 'tablist', 'aria-label': 'Parts of the message' }, ...tabs.map(([name]) => el('button', {
    type: 'button', role: 'tab', id: 'tab-' + name, 'aria-controls': 'pane', onclick: () => select(name),
  }, name)));
  const select = (name) => {
    page.tab = name;
    for (const tab of bar.children) {
      tab.setAttribute('aria-selected', String(tab.id === 'tab-' + name));
      tab.tabIndex = tab.id === 'tab-' + name ? 0 : -1;
    }
    pane.setAttribute('aria-labelledby', 'tab-' + name);
    pane.replaceChildren(tabs.find((tab) => tab[0] === name)[1]());
  };
  bar.addEventListener('keydown', (event) => moveTab(event, bar));
  $('detail').replaceChildren(head(message, bar), pane);
  select(page.tab);
}

// moveTab is what the arrow keys do in a row of tabs.
function moveTab(event, bar) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const tabs = [...bar.children];
  const next = tabs[(tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length];
  next.click();
  next.focus();
}

function head(message, bar) {
  const facts = [['From', message.from], ['To', message.to], ['Arrived', new Date(message.at).toLocaleString()], ['Id', message.id], ['Note', message.note]];
  return el('div', { className: 'head' },
    el('button', { type: 'button', className: 'quiet back', onclick: () => { const seq = page.open; close(); const back = document.querySelector(`.row[data-seq="${seq}"]`); if (back) back.focus(); } }, '← All messages'),
    el('h2', {}, titleOf(message), ' ', badge(message)),
    el('dl', { className: 'facts' }, ...facts.filter(([, value]) => value).flatMap(([name, value]) => [el('dt', {}, name), el('dd', { className: 'clamp', title: value }, value)])),
    bar);
}

function tabsOf(message) {
  const tabs = [];
  if (message.channel === 'email') {
    if (message.html) tabs.push(['HTML', () => frame(message)]);
    if (message.text || !message.html) tabs.push(['Text', () => el('div', { className: 'words' }, message.text || 'This mail has no text part.')]);
  } else if (message.channel !== 'webhook') {
    tabs.push(['Preview', () => stage(message)]);
  }
  if (message.json !== undefined) tabs.push(['JSON', () => el('pre', { className: 'code', tabIndex: 0 }, coloured(message.json))]);
  tabs.push(['Headers', () => fields(message.headers || [])]);
  tabs.push(['Raw', () => el('pre', { className: 'code', tabIndex: 0 }, message.raw || '')]);
  return tabs;
}

// frame shows a mail where it can run nothing and fetch nothing: an opaque
// origin without scripts, under the policy that the server sends with it.
function frame(message) {
  const node = el('iframe', { className: 'frame', title: 'The mail as its reader sees it' });
  node.setAttribute('sandbox', '');
  node.referrerPolicy = 'no-referrer';
  node.src = `messages/${message.seq}/html`;
  return node;
}

function fields(headers) {
  if (!headers.length) return el('p', {}, 'No headers could be read.');
  return el('table', { className: 'fields' }, el('tbody', {}, ...headers.map((h) => el('tr', {}, el('th', { scope: 'row' }, h.name), el('td', {}, h.value)))));
}

// coloured is a value as indented JSON, each token in a span of its kind.
function coloured(value) {
  const out = document.createDocumentFragment();
  const text = JSON.stringify(value, null, 2);
  const token = /("(?:[^"\\]|\\.)*")(\s*:)?|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/g;
  let last = 0;
  for (const found of text.matchAll(token)) {
    out.append(text.slice(last, found.index));
    const kind = found[2] ? 'key' : found[1] ? 'str' : /^[tfn]/.test(found[0]) ? 'word' : 'num';
    out.append(el('span', { className: 'j-' + kind }, found[1] || found[0]), found[2] || '');
    last = found.index + found[0].length;
  }
  out.append(text.slice(last));
  return out;
}

// ——— pushes as the recipient sees them ———

function stage(message) {
  const kind = { apns: 'ios', fcm: 'android', webpush: 'web' }[message.channel];
  if (!message.title && !message.text) {
    return el('div', { className: 'stage ' + kind }, el('p', { className: 'silent' }, 'A silent push: it shows nothing and wakes the app.'));
  }
  return { ios, android, web }[kind](message);
}

const appIcon = () => el('span', { className: 'app' }, el('img', { src: 'icon.svg', alt: '' }));
const shortTime = (message) => new Date(message.at).toLocaleTimeString([], { hour: 'numeric', minute: '2-digit', hour12: false });

function ios(message) {
  const day = new Date(message.at).toLocaleDateString([], { weekday: 'long', day: 'numeric', month: 'long' });
  return el('div', { className: 'stage ios' }, el('div', {},
    el('p', { className: 'clock' }, day, el('b', {}, shortTime(message))),
    el('div', { className: 'push ios' }, appIcon(),
      el('b', {}, message.title || header(message, 'Apns-Topic')), el('span', { className: 'when' }, 'now'), el('p', {}, message.text || ''))));
}

function android(message) {
  return el('div', { className: 'stage android' }, el('div', { className: 'push android' },
    el('div', { className: 'from' }, el('img', { src: 'icon.svg', alt: '' }), 'Your app · ' + shortTime(message)),
    el('b', {}, message.title || ''), el('p', {}, message.text || '')));
}

function web(message) {
  return el('div', { className: 'stage web' }, el('div', { className: 'push web' }, appIcon(),
    el('b', {}, message.title || ''), el('p', {}, message.text || ''), el('p', { className: 'site' }, 'Your browser · your site')));
}

function header(message, name) {
  const found = (message.headers || []).find((h) => h.name.toLowerCase() === name.toLowerCase());
  return found ? found.value : '';
}

// ——— misbehaving ———

const FIELDS = [
  ['delay', 'Delay', 'e.g. 2s'],
  ['status', 'Status', 'e.g. 503'],
  ['retry_after', 'Retry-After', 'e.g. 30s'],
  ['times', 'How many times', 'for ever'],
  ['share', 'Share of requests', '0.1 to 1'],
];
const CUTS = [['', 'No cut'], ['before', 'Before the request is read'], ['after', 'After the request is read'], ['body', 'In the middle of the answer']];

function panel(channel) {
  const error = el('p', { className: 'error', role: 'alert', hidden: true });
  const form = el('form', { className: 'panel', id: 'panel-' + channel, noValidate: true },
    el('h3', {}, mark(channel), CHANNELS[channel].name),
    el('p', { className: 'now', role: 'status' }),
    el('div', { className: 'grid' },
      ...FIELDS.filter(([name]) => !(channel === 'email' && name === 'retry_after')).map(([name, label, hint]) =>
        el('label', { className: 'field' }, channel === 'email' && name === 'status' ? 'SMTP code' : label,
          el('input', { name, placeholder: channel === 'email' && name === 'status' ? 'e.g. 451' : hint, autocomplete: 'off', inputMode: ['status', 'times'].includes(name) ? 'numeric' : 'text' }))),
      el('label', { className: channel === 'email' ? 'field wide' : 'field' }, 'Cut the connection',
        el('select', { name: 'cut' }, ...CUTS.map(([value, text]) => el('option', { value }, text)))),
      el('label', { className: 'field wide' }, 'The provider’s own word',
        el('input', { name: 'reason', placeholder: WORDS[channel], autocomplete: 'off', spellcheck: false }))),
    el('div', { className: 'buttons' },
      el('button', { type: 'submit', className: 'primary' }, 'Misbehave'),
      el('button', { type: 'button', className: 'quiet', onclick: () => { form.reset(); tell(channel, {}, error); } }, 'Behave')),
    error);
  form.addEventListener('submit', (event) => { event.preventDefault(); tell(channel, read(form), error); });
  return form;
}

const WORDS = { email: 'e.g. 4.2.2 mailbox full', apns: 'e.g. Unregistered', fcm: 'e.g. UNREGISTERED', webpush: 'the body of the answer', webhook: 'the body of the answer' };

// read is the behaviour that a form describes. A number that is none goes as
// it was typed, so that the server says what is wrong with it.
function read(form) {
  const behaviour = {};
  for (const [name, value] of new FormData(form)) {
    if (value.trim() === '') continue;
    const numeric = ['status', 'times', 'share'].includes(name) && !Number.isNaN(Number(value));
    behaviour[name] = numeric ? Number(value) : value.trim();
  }
  return behaviour;
}

async function tell(channel, behaviour, error) {
  const answer = await fetch('misbehave/' + channel, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(behaviour) });
  error.hidden = answer.ok;
  if (!answer.ok) error.textContent = (await answer.json()).detail;
}

// sentence says in words what a channel was told.
function sentence(b) {
  if (!b) return 'Behaves.';
  const parts = [];
  if (b.delay) parts.push('waits ' + b.delay);
  if (b.status) parts.push('answers ' + b.status + (b.reason ? ' ' + b.reason : ''));
  if (b.retry_after) parts.push('Retry-After ' + b.retry_after);
  if (b.cut) parts.push('cuts the connection ' + { before: 'before the request is read', after: 'after the request is read', body: 'in the middle of the answer' }[b.cut]);
  let text = 'Now ' + parts.join(', ');
  if (b.share) text += ', for ' + Math.round(b.share * 1000) / 10 + ' % of requests';
  if (b.times) text += b.times === 1 ? ', once more' : `, ${b.times} more times`;
  return text + '.';
}

function drawBehaviours() {
  const wrong = page.state.behaviours || {};
  for (const channel of Object.keys(CHANNELS)) {
    const form = $('panel-' + channel);
    form.classList.toggle('wrong', Boolean(wrong[channel]));
    const now = form.querySelector('.now');
    const text = sentence(wrong[channel]);
    if (now.textContent !== text) now.textContent = text;
  }
  const names = Object.keys(wrong).map((channel) => CHANNELS[channel].name);
  $('wrong-count').hidden = names.length === 0;
  $('wrong-count').replaceChildren(el('span', { className: 'hidden' }, names.join(', ') + ' misbehaving'));
}

// ——— what was refused, and the API ———

function drawRefused() {
  const refused = page.state.refused || [];
  $('refused-count').hidden = refused.length === 0;
  $('refused-count').textContent = refused.length === 100 ? '100+' : refused.length;
  if (!refused.length) {
    $('refusals').replaceChildren(el('p', {}, 'Nothing was refused.'));
    return;
  }
  const cells = (r) => [clockTime(r.at), CHANNELS[r.channel].name, r.status || '–', r.reason, r.to || '–'].map((text) => el('td', {}, String(text)));
  $('refusals').replaceChildren(el('table', {},
    el('thead', {}, el('tr', {}, ...['At', 'Channel', 'Status', 'Why', 'To'].map((name) => el('th', { scope: 'col' }, name)))),
    el('tbody', {}, ...refused.map((r) => el('tr', {}, ...cells(r))))));
}

function drawAPI() {
  const base = location.origin + location.pathname;
  $('example').textContent = `curl '${base}messages?channel=email&limit=1'\ncurl -X POST '${base}misbehave/webhook' -d '{"status":503,"retry_after":"30s","times":2}'\ncurl -N '${base}events'`;
  $('endpoints').replaceChildren(...Object.entries(page.state.endpoints).flatMap(([channel, url]) => [el('dt', {}, CHANNELS[channel].name), el('dd', {}, el('code', {}, url))]));
}

// ——— views and life ———

function view(name) {
  for (const main of document.querySelectorAll('.view')) main.hidden = main.id !== name;
  for (const button of document.querySelectorAll('nav [data-view]')) button.setAttribute('aria-pressed', String(button.dataset.view === name));
}

document.addEventListener('click', (event) => {
  const button = event.target.closest('[data-view]');
  if (button) view(button.dataset.view);
});

function live(state, words) {
  $('live').dataset.state = state;
  $('live').textContent = words;
}

// newState takes over the state, and starts again when the sandbox did.
function newState(state) {
  const before = page.state;
  page.state = state;
  if (before && before.instance !== state.instance) return restart();
  dropBefore(state.first);
  if (before && before.cleared !== state.cleared) close();
  redraw('hint', state.hint, () => drawEmpty($('list').childElementCount));
  redraw('filters', state.counts, drawFilters);
  redraw('behaviours', state.behaviours, drawBehaviours);
  redraw('refused', state.refused, drawRefused);
  redraw('api', state.endpoints, drawAPI);
}

// redraw draws only what changed, so that nobody's selection or focus is lost
// to a heartbeat.
function redraw(name, value, draw) {
  const text = JSON.stringify(value);
  if (page.drawn[name] === text) return;
  page.drawn[name] = text;
  draw();
}

function listen() {
  const last = Math.max(0, ...page.rows.keys());
  page.source = new EventSource('events?after=' + last);
  page.source.onopen = () => live('live', 'Live');
  page.source.onerror = () => live('lost', 'Connection lost, trying again…');
  page.source.addEventListener('message', (event) => arrive(JSON.parse(event.data)));
  page.source.addEventListener('state', (event) => newState(JSON.parse(event.data)));
}

async function restart() {
  if (page.source) page.source.close();
  page.state = null;
  page.drawn = {};
  page.rows.clear();
  const answer = await fetch('messages?view=list&limit=' + FIRST);
  for (const message of (await answer.json()).messages) page.rows.set(message.seq, message);
  close();
  drawList();
  drawFilters();
  listen();
}

$('panels').append(...Object.keys(CHANNELS).map(panel));
restart().catch(() => live('lost', 'The sandbox does not answer: reload when it runs'));
