// A webhook: its body, what it is signed with, and a command line that sends it.
import { h, show, setText, fill, json, copyButton } from "./dom.js";

const quote = (text) => "'" + text.replaceAll("'", "'\\''") + "'";

// curl is a command line for a shell of POSIX.
export function curl(url, call) {
  const headers = (call.headers || []).map((f) => "  -H " + quote(`${f.name}: ${f.value}`) + " \\\n");
  return `curl -sS ${quote(url)} \\\n${headers.join("")}  --data-binary ${quote(call.body)}`;
}

export class WebhookView {
  constructor(fresh) {
    this.url = new URL("api/webhook", location.href.split("#")[0]).href;
    this.body = h("pre", { class: "json body" });
    this.headers = h("div", { class: "scroll" });
    this.secret = h("p", { class: "hint" });
    this.command = h("pre", { class: "curl" });
    this.wrong = h("p", { class: "wrong" });
    // The signature holds for a few minutes, so what is copied is signed anew.
    const copy = copyButton("Copy", async () => curl(this.url, (await fresh(this.locale)) || this.call));
    copy.classList.add("copycurl");
    this.signed = h("div", {}, h("h3", {}, "Headers"), this.headers, this.secret,
      h("div", { class: "row" }, h("h3", {}, "Send it from a shell"), copy), this.command,
      h("p", { class: "hint" }, "This page's own server receives it, verifies the signature and keeps nothing. Put your receiver's URL in its place."));
    this.root = h("div", { class: "webhook" }, this.wrong, h("h3", {}, "Body"), this.body, this.signed);
  }

  update(rendering) {
    this.call = rendering.webhook || { body: "" };
    this.locale = rendering.locale;
    setText(this.wrong, this.call.error ? "It could never be sent: " + this.call.error : "");
    show(this.wrong, this.call.error);
    if (this.body.textContent !== this.call.pretty) this.body.replaceChildren(...json(this.call.pretty || ""));
    show(this.signed, this.call.headers);
    if (!this.call.headers) return;
    fill(this.headers, h("table", { class: "headers" }, h("tbody", {}, this.call.headers.map((f) => h("tr", {}, h("th", { scope: "row" }, f.name), h("td", {}, f.value))))));
    fill(this.secret, "Signed by Standard Webhooks with the example's secret ", h("code", {}, this.call.secret), ".");
    setText(this.command, curl(this.url, this.call));
  }
}
