// The page's own server, by paths relative to wherever it is mounted.

async function ask(path, options) {
  const response = await fetch(path, options);
  if (!response.ok) throw Object.assign(new Error((await response.text()).trim()), { status: response.status });
  return response.json();
}

const post = (path, body, headers) => ask(path, { method: "POST", body: JSON.stringify(body), headers });

export const catalogue = () => ask("api/catalogue");
export const template = (name) => ask("api/template?name=" + encodeURIComponent(name));
export const warnings = () => ask("api/warnings");
export const sources = (name) => ask("api/source?template=" + encodeURIComponent(name));
export const render = (request) => post("api/render", request);
export const test = (request, token) => post("api/test", request, { "X-Preview-Token": token });

// follow calls back when the connection stands, breaks, and when files changed.
// The browser connects again by itself, except after an answer that is no
// stream, as a proxy gives while the server is away.
export function follow({ open, lost, changed }) {
  const events = new EventSource("api/events");
  events.onopen = open;
  events.addEventListener("changed", changed);
  events.onerror = () => {
    lost();
    if (events.readyState === EventSource.CLOSED) setTimeout(() => follow({ open, lost, changed }), 1500);
  };
}
