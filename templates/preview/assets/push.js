// A push as two phones show it, what it costs, and what it carries.
import { h, show, setText, fill, json } from "./dom.js";

const bell = () => {
  const icon = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", "#bell");
  icon.setAttribute("aria-hidden", "true");
  icon.append(use);
  return icon;
};

// The moment on the phones' screens: the one at which samples are rendered.
const moment = new Date(Date.UTC(2027, 0, 1, 9, 41));

function dateline(locale) {
  const format = { weekday: "long", day: "numeric", month: "long", timeZone: "UTC" };
  try { return moment.toLocaleDateString(locale, format); } catch { return moment.toLocaleDateString("en", format); }
}

// picture stands where a phone would show the image: nothing is fetched.
const picture = (url) => h("div", { class: "picture" }, h("span", {}, "Image"), h("code", {}, url));

function ios(push, app, locale, expanded) {
  const alert = push.options?.apns?.aps?.alert || {};
  return h("figure", { class: "phone ios" }, h("figcaption", {}, "iOS lock screen"),
    h("div", { class: "screen" },
      h("p", { class: "date" }, dateline(locale)), h("p", { class: "clock" }, "9:41"),
      h("div", { class: "note" + (expanded ? " expanded" : "") }, bell(),
        h("div", { class: "words" },
          h("div", { class: "head" }, h("b", { class: "heading", dir: "auto" }, push.title || app), h("span", { class: "when" }, "now")),
          alert.subtitle && h("p", { class: "subtitle", dir: "auto" }, alert.subtitle),
          push.body && h("p", { class: "body", dir: "auto" }, push.body)),
        expanded && image(push) && picture(image(push)))));
}

function android(push, app, expanded) {
  return h("figure", { class: "phone android" }, h("figcaption", {}, "Android shade"),
    h("div", { class: "screen" },
      h("p", { class: "status" }, h("span", {}, "9:41"), h("span", {}, "Fri, Jan 1")),
      h("div", { class: "note" + (expanded ? " expanded" : "") },
        h("div", { class: "head" }, bell(), h("span", { class: "app" }, app), h("span", { class: "when" }, "· now"), h("span", { class: "chevron", "aria-hidden": "true" }, expanded ? "⌃" : "⌄")),
        push.title && h("b", { class: "heading", dir: "auto" }, push.title),
        push.body && h("p", { class: "body", dir: "auto" }, push.body),
        expanded && image(push) && picture(image(push)))));
}

const image = (push) => push.options?.fcm?.android?.notification?.image || push.options?.fcm?.image || push.data?.image || push.data?.image_url || "";

function meter(p) {
  const part = p.most ? p.used / p.most : 0;
  const level = p.error || part > 1 ? "bad" : part > 0.9 ? "warn" : "good";
  const words = p.error ? "cannot be sent" : `${p.used.toLocaleString("en")} of ${p.most.toLocaleString("en")} bytes`;
  return h("div", { class: "meter " + level, "data-service": p.service },
    h("div", { class: "row" }, h("b", {}, p.service), h("span", {}, words)),
    h("div", { class: "track", role: "meter", "aria-label": `${p.service}: bytes used`, "aria-valuemin": "0", "aria-valuemax": String(p.most || 4096), "aria-valuenow": String(Math.min(p.used, p.most || 4096)), "aria-valuetext": words },
      h("div", { class: "used", style: `width: ${Math.min(100, Math.max(part * 100, 1)).toFixed(1)}%` })),
    p.error ? h("p", { class: "wrong" }, p.error) : level === "warn" && h("p", { class: "hint" }, "More than nine tenths are used: longer data will have its body cut."));
}

// flat lists options by their names, one a line.
function flat(value, prefix = "") {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return [[prefix, JSON.stringify(value)]];
  return Object.entries(value).flatMap(([name, v]) => flat(v, prefix ? prefix + "." + name : name));
}

function options(push, headers) {
  const rows = [...headers, ...flat(push.options || {})].filter(([name]) => name);
  return rows.length > 0 && h("dl", { class: "options" }, rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

export class PushView {
  constructor() {
    this.phones = h("div", { class: "phones" });
    this.costs = h("div", { class: "costs" });
    this.extra = h("div", {});
    this.payloads = h("div", {});
    this.root = h("div", { class: "push" }, this.phones, h("div", { class: "facts" }, this.costs, this.extra, this.payloads));
  }

  update(rendering, state, app) {
    const push = rendering.content.push || {};
    const payloads = rendering.payloads || [];
    const expanded = state.push === "expanded";
    fill(this.phones, ios(push, app, rendering.locale, expanded), android(push, app, expanded));
    fill(this.costs, payloads.map(meter));
    show(this.costs, payloads.length);
    const headers = payloads.flatMap((p) => (p.headers || []).map((f) => [f.name, f.value]));
    fill(this.extra, h("h3", {}, "Options"), options(push, headers) || h("p", { class: "hint" }, "None: the push goes with every default."),
      h("h3", {}, "Data for the app"), push.data ? h("pre", { class: "json" }, json(JSON.stringify(push.data, null, 2))) : h("p", { class: "hint" }, "None."));
    this.drawPayloads(payloads);
  }

  // drawPayloads keeps the ones that are open open.
  drawPayloads(payloads) {
    for (const p of payloads) {
      let details = this.payloads.querySelector(`[data-service="${p.service}"]`);
      if (!details) {
        details = h("details", { "data-service": p.service }, h("summary", {}, `What ${p.service} is sent`), h("pre", { class: "json" }));
        this.payloads.append(details);
      }
      const pre = details.querySelector("pre");
      if (pre.textContent !== p.text) pre.replaceChildren(...json(p.text));
      show(details, p.text);
    }
  }
}
