// The two dialogs: what the keys do, and sending a test.
import { h, announce } from "./dom.js";
import * as api from "./api.js";

function dialog(title, ...content) {
  const close = h("button", { type: "button", class: "quiet small" }, "Close");
  const box = h("dialog", { "aria-label": title }, h("div", { class: "row" }, h("h2", {}, title), close), ...content);
  close.onclick = () => box.close();
  box.onclose = () => box.remove();
  document.body.append(box);
  box.showModal();
  return box;
}

const keys = [["/", "search the templates"], ["j  k  ↓  ↑", "next, previous template"], ["1  2  3", "email, push, webhook"], ["4", "source"], ["l", "next locale"], ["b", "a second locale beside it, or none"],
  ["s", "next sample"], ["m", "mobile or desktop"], ["d", "the mail in the dark"], ["e", "a push expanded or collapsed"], ["?", "this help"], ["Esc", "close"]];

export function help() {
  if (document.querySelector("dialog[open]")) return;
  dialog("Keyboard", h("dl", { class: "keys" }, keys.flatMap(([key, does]) => [h("dt", {}, key.split("  ").map((k) => h("kbd", {}, k))), h("dd", {}, does)])),
    h("p", { class: "hint" }, "Tab goes through everything; arrows move inside the tree and the tabs. The address always leads back to what you look at."));
}

// send asks where to, once more whether really, and says what came of it.
// secret is what webhooks to typed addresses are signed with.
export function send(sending, token, request, channel, secret) {
  const list = sending.destinations.filter((d) => d.channel === channel);
  if (document.querySelector("dialog[open]")) return;
  if (!list.length) {
    dialog("Send a test", h("p", {}, `No channel is configured that would take this: it has no section for ${channel}.`));
    return;
  }
  const select = h("select", { id: "destination" }, list.map((d) => h("option", { value: d.id }, d.label)));
  const to = h("input", { id: "to", autocomplete: "off", spellcheck: "false" });
  const sure = h("input", { type: "checkbox", id: "sure" });
  const words = h("p", { id: "sent", role: "status" });
  const go = h("button", { type: "submit", class: "primary" }, "Send");
  const form = h("form", { method: "dialog" }, h("div", { class: "field" }, h("label", { for: "destination" }, "To"), select),
    h("div", { class: "field ask" }, h("label", { for: "to" }, "Address"), to), h("p", { class: "hint ask secret" }, "It is signed by Standard Webhooks with the example secret ", h("code", {}, secret), ", which is no secret: a receiver that verifies must know that one, and one that holds your own will refuse it."),
    h("div", { class: "field row ask" }, sure, h("label", { for: "sure" }, "Really send it: somebody will get it")), h("div", { class: "row" }, go), words);
  const chosen = () => list.find((d) => d.id === select.value);
  const draw = () => {
    for (const part of form.querySelectorAll(".ask")) part.hidden = !chosen().ask || part.matches(".secret") && !(secret && channel === "webhook");
    to.placeholder = chosen().example || "";
    go.disabled = chosen().ask && !(sure.checked && to.value.trim());
  };
  select.onchange = sure.onchange = to.oninput = draw;
  form.onsubmit = async (e) => {
    e.preventDefault();
    go.disabled = true;
    words.className = "hint";
    words.textContent = "Sending…";
    try {
      const answer = await api.test({ ...request, destination: select.value, to: to.value }, token);
      words.className = answer.ok ? "good" : "wrong";
      words.replaceChildren(answer.words, " ", answer.ok && answer.inbox ? h("a", { href: answer.inbox }, "Look at it") : "");
      announce(answer.words);
    } catch (error) {
      words.className = "wrong";
      words.textContent = error.message;
    }
    draw();
  };
  draw();
  dialog("Send a test to " + sending.where, h("p", { class: "hint" }, "What is shown is sent once, past the queue: no caps, no preferences, no record."), form);
  (chosen().ask ? to : go).focus();
}
