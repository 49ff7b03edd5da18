// A mail: as its reader sees it, its text part, its headers and its source.
import { h, show, setText, fill, announce, copyButton } from "./dom.js";

const widths = { desktop: [640, 800], mobile: [375, 375] };

// framePolicy stands in the mail beside the page's own: nothing runs, and
// nothing is asked of anybody but for the catalogue's assets, of the preview.
const framePolicy = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:";

// MailFrame shows HTML in a frame that may do nothing. It has the page's
// origin, so that the page can measure it and catch clicks, but no scripts: the
// sandbox and two policies keep them out.
class MailFrame {
  constructor() {
    this.html = null;
    this.frame = h("iframe", { sandbox: "allow-same-origin", title: "The mail", class: "mail" });
    this.box = h("div", { class: "framebox" }, this.frame);
    this.frame.onload = () => this.loaded();
    new ResizeObserver(() => this.fit()).observe(this.box);
  }

  show(html, look) {
    this.look = look;
    this.frame.classList.toggle("dark", look.dark);
    const prepared = html && prepare(html, look);
    if (prepared !== this.html) this.put(prepared);
    this.fit();
  }

  put(html) {
    this.html = html;
    this.loading = true;
    this.frame.srcdoc = html;
  }

  loaded() {
    if (!this.loading) return this.put(this.html); // a link has put the browser's notice in the mail's place
    this.loading = false;
    this.measured = 0;
    this.frame.contentDocument?.addEventListener("click", caught, true);
    this.fit();
  }

  // fit gives the frame the width of a reader's screen, made smaller where
  // there is no room, and the height of the mail.
  fit() {
    const room = this.box.clientWidth;
    if (!room || !this.look) return;
    const [least, most] = widths[this.look.width] || widths.desktop;
    const width = Math.min(Math.max(room, least), most);
    const scale = Math.min(1, room / width);
    this.frame.style.width = width + "px";
    this.frame.style.transform = scale < 1 ? `scale(${scale})` : "";
    this.frame.style.marginInlineStart = scale < 1 ? "0" : Math.floor((room - width) / 2) + "px";
    const height = this.measure(width);
    this.frame.style.height = height + "px";
    this.box.style.height = Math.ceil(height * scale) + "px";
    this.box.dataset.scale = scale < 1 ? Math.round(scale * 100) + " %" : "";
  }

  measure(width) {
    const page = this.frame.contentDocument;
    if (this.loading || !page || !page.body) return this.height || 480;
    if (this.measured === width) return this.height;
    this.measured = width;
    this.frame.style.height = "60px"; // or a mail as high as its window stays as high as it was
    this.height = Math.min(Math.max(page.documentElement.scrollHeight, page.body.scrollHeight, 200), 16000);
    return this.height;
  }
}

function caught(e) {
  const link = e.target.closest?.("a, area, button, input, [href]");
  e.preventDefault();
  if (link) announce("The link leads to " + (link.getAttribute("href") || "nowhere") + ". It is not followed here.");
}

// prepare puts the policy in, the preview's own address of an asset for the one
// that readers load it from, and a placeholder where another picture would be
// fetched; with images off there is what readers see who do not load any.
function prepare(html, { images, assets }) {
  const page = new DOMParser().parseFromString(html, "text/html"); // runs and loads nothing
  for (const meta of page.querySelectorAll("meta[http-equiv]")) meta.remove();
  for (const base of page.querySelectorAll("base")) base.remove();
  for (const img of page.querySelectorAll("img, source")) {
    img.removeAttribute("srcset");
    if (images && img.localName === "img" && !/^data:/i.test(img.getAttribute("src") || "data:")) img.setAttribute("src", asset(img.getAttribute("src"), assets) || placeholder(img));
    else if (!images) img.removeAttribute("src");
  }
  page.head.prepend(policy(page));
  return "<!doctype html>" + page.documentElement.outerHTML;
}

function policy(page) {
  const meta = page.createElement("meta");
  meta.httpEquiv = "Content-Security-Policy";
  meta.content = framePolicy;
  return meta;
}

// asset is where the preview has an asset; empty for any other picture.
function asset(src, base) {
  const name = src.startsWith(base + "/") ? src.slice(base.length + 1) : "";
  return /^[\w.-]+\.[0-9a-f]{32}\.\w+$/.test(name) ? new URL("assets/" + name, document.baseURI).href : "";
}

function placeholder(img) {
  const width = parseInt(img.getAttribute("width"), 10) || 160, height = parseInt(img.getAttribute("height"), 10) || 90;
  const x = width / 2, y = height / 2;
  return "data:image/svg+xml," + encodeURIComponent(`<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}"><rect width="100%" height="100%" fill="#d5d9e2"/>` +
    (Math.min(width, height) < 28 ? "" : `<g fill="none" stroke="#6b7280" stroke-width="1.5" transform="translate(${x - 12} ${y - 10})"><rect x="1" y="1" width="22" height="18" rx="3"/><circle cx="7.5" cy="7" r="2"/><path d="m1 16 7-6 5 4 4-3 6 5"/></g>`) + "</svg>");
}

export class EmailView {
  constructor() {
    this.subject = h("p", { class: "subject", dir: "auto" });
    this.from = h("p", { class: "from hint" });
    this.frame = new MailFrame();
    this.notice = h("p", { class: "hint none" });
    this.text = h("pre", { class: "text", dir: "auto" });
    this.headers = h("div", { class: "scroll" });
    this.raw = h("pre", { class: "raw" });
    this.size = h("span", { class: "hint" });
    this.source = h("div", {}, h("div", { class: "row" },
      h("button", { type: "button", class: "quiet small download", onclick: () => this.download() }, "Download .eml"),
      copyButton("Copy", () => this.mail.raw), this.size), this.raw);
    this.root = h("div", { class: "email" }, h("div", { class: "letterhead" }, this.subject, this.from),
      this.frame.box, this.text, this.headers, this.source, this.notice);
  }

  update(rendering, state) {
    const email = rendering.content.email || {};
    this.mail = rendering.mail || {};
    this.name = `${state.template}.${rendering.locale}.eml`;
    setText(this.subject, email.subject || "");
    this.drawFrom();
    const view = state.view;
    show(this.frame.box, view === "html" && email.html);
    show(this.text, view === "text" && email.text);
    show(this.headers, view === "headers" && !this.mail.error && this.mail.headers);
    show(this.source, view === "raw" && !this.mail.error && this.mail.raw);
    this.explain(view, email);
    setText(this.text, email.text || "");
    this.drawSource();
    if (view === "html") this.frame.show(email.html || "", { width: state.width, dark: state.dark === "1", images: state.images !== "off", assets: rendering.assets });
  }

  drawFrom() {
    const value = (name) => {
      const found = (this.mail.headers || []).find((f) => f.name === name);
      return found ? found.decoded || found.value : "";
    };
    fill(this.from, value("From") && h("bdi", {}, value("From")), value("To") && " to ", value("To") && h("bdi", {}, value("To")));
  }

  explain(view, email) {
    let words = "";
    if (view === "html" && !email.html) words = "This template has no email.html in this locale: its readers get the text.";
    if (view === "text" && !email.text) words = "There is no email.txt: readers without HTML get what can be made of the HTML. The source shows it.";
    if ((view === "headers" || view === "raw") && !this.mail.raw) words = this.mail.error ? "It could never be sent: " + this.mail.error : "This preview was started without the mail's format.";
    setText(this.notice, words);
    show(this.notice, words);
  }

  drawSource() {
    fill(this.headers, h("table", { class: "headers" }, h("tbody", {}, (this.mail.headers || []).map((f) =>
      h("tr", {}, h("th", { scope: "row" }, f.name), h("td", {}, f.value, f.decoded && h("span", { class: "decoded" }, f.decoded)))))));
    setText(this.raw, this.mail.raw || "");
    setText(this.size, this.mail.bytes ? `${this.mail.bytes.toLocaleString("en")} bytes` + (this.mail.bytes > 102 * 1024 ? "; Gmail cuts a mail's HTML off after 102 KB" : "") : "");
  }

  download() {
    const url = URL.createObjectURL(new Blob([this.mail.raw], { type: "message/rfc822" }));
    h("a", { href: url, download: this.name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  }
}
