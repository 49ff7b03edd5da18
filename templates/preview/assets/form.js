// A form for a value by its JSON Schema. Every change goes into the value at
// once; what the form cannot show is edited as JSON, and names that the schema
// does not know are kept.
import { h } from "./dom.js";
import { resolve, kind, nullable, alternatives, fits, blank, typeOf } from "./schema.js";

const escape = (name) => String(name).replaceAll("~", "~0").replaceAll("/", "~1");
const child = (pointer, name) => pointer + "/" + escape(name);
let numbers = 0;

export class Form {
  // changed is called with the whole value after every change.
  constructor(schema, value, changed) {
    this.root = schema;
    this.value = value;
    this.changed = changed;
    this.element = h("div", { class: "form" });
    this.draw();
  }

  // draw builds the form again, where its shape has changed, and gives the
  // keyboard its place back.
  draw(focus) {
    const place = focus || this.element.contains(document.activeElement) && document.activeElement.dataset.pointer;
    this.fields = new Map();
    this.prefix = "f" + ++numbers + "-";
    const set = (v) => { this.value = v; };
    this.element.replaceChildren(...this.members(resolve(this.root, this.root), this.value, set, "/data"));
    this.explain(this.errors || []);
    if (place) this.element.querySelector(`[data-pointer="${CSS.escape(place)}"]`)?.focus();
  }

  tell() { this.changed(this.value); }

  // reshape is a change after which the form looks otherwise.
  reshape(focus) {
    this.draw(focus);
    this.tell();
  }

  // explain puts each error at its field, or at the nearest one around it. It
  // returns those that have no field at all.
  explain(errors) {
    this.errors = errors;
    for (const field of this.fields.values()) field.clear();
    return errors.filter((e) => {
      for (let at = e.pointer; at.length > "/data".length; at = at.slice(0, at.lastIndexOf("/"))) {
        const field = this.fields.get(at);
        if (field) {
          field.say((at === e.pointer ? "" : e.pointer.slice(at.length + 1) + ": ") + e.detail);
          return false;
        }
      }
      return true;
    });
  }

  // field is a label, an input and a place for what is wrong with it.
  field(pointer, label, schema, input, required, ...beside) {
    const id = this.prefix + this.fields.size;
    const error = h("p", { class: "wrong", id: id + "-error", hidden: true });
    const hint = schema.description && h("p", { class: "hint", id: id + "-hint" }, schema.description);
    input.id = id;
    input.dataset.pointer = pointer;
    const describe = (wrong) => {
      const ids = [wrong && error.id, hint && hint.id].filter(Boolean).join(" ");
      if (ids) input.setAttribute("aria-describedby", ids);
      else input.removeAttribute("aria-describedby");
    };
    describe(false);
    this.fields.set(pointer, {
      clear() { error.hidden = true; error.textContent = ""; input.removeAttribute("aria-invalid"); describe(false); },
      say(words) { error.append(h("span", {}, words)); error.hidden = false; input.setAttribute("aria-invalid", "true"); describe(true); },
    });
    return h("div", { class: "field" },
      h("div", { class: "row" }, h("label", { for: id }, schema.title || label, required === true && h("span", { class: "required" }, "required")), ...beside), hint, input, error);
  }

  // edit is the part of the form for one value.
  edit(given, value, set, pointer, label, required, ...beside) {
    const schema = resolve(given, this.root);
    if (nullable(schema)) beside.unshift(this.nullButton(schema, value, set, pointer));
    if (value === null && nullable(schema)) return this.field(pointer, label, schema, h("input", { value: "null", readonly: true, class: "fixed" }), required, ...beside);
    if (value === undefined && ["object", "array", "choice", "json"].includes(kind(schema))) return this.absent(schema, set, pointer, label, required, ...beside);
    const make = { const: "fixed", enum: "select", choice: "choice", boolean: "check", number: "number", string: "string", array: "list", object: "group" }[kind(schema)];
    const mismatch = { string: "string", number: "number", boolean: "boolean", array: "array", object: "object" }[kind(schema)];
    if (!make || mismatch && value !== undefined && typeOf(value) !== mismatch && !(make === "number" && typeof value === "string")) return this.raw(schema, value, set, pointer, label, required, ...beside);
    return this[make](schema, value, set, pointer, label, required, ...beside);
  }

  small(words, act, label) { return h("button", { type: "button", class: "link", "aria-label": label, onclick: act }, words); }

  nullButton(schema, value, set, pointer) {
    const isNull = value === null;
    return this.small(isNull ? "give a value" : "null", () => {
      const { type, ...rest } = schema;
      set(isNull ? blank({ ...rest, type: [type].flat().filter((t) => t !== "null") }, this.root) : null);
      this.reshape(pointer);
    });
  }

  absent(schema, set, pointer, label, required, ...beside) {
    const add = h("button", { type: "button", class: "quiet small", onclick: () => { set(blank(schema, this.root)); this.reshape(pointer); } }, "Add " + label);
    return this.field(pointer, label, schema, add, required, ...beside);
  }

  fixed(schema, value, set, pointer, label, required, ...beside) {
    if (value === undefined && required) set(schema.const);
    return this.field(pointer, label, schema, h("input", { value: JSON.stringify(schema.const), readonly: true, class: "fixed" }), required, ...beside);
  }

  select(schema, value, set, pointer, label, required, ...beside) {
    const texts = schema.enum.map((v) => JSON.stringify(v));
    const at = texts.indexOf(JSON.stringify(value));
    const strange = value !== undefined && at < 0;
    const select = h("select", {}, !required && h("option", { value: "" }, "(left out)"), required && value === undefined && h("option", { value: "" }, "(choose)"),
      strange && h("option", { value: "strange" }, JSON.stringify(value)),
      schema.enum.map((v, i) => h("option", { value: String(i) }, typeof v === "string" ? v : texts[i])));
    select.value = strange ? "strange" : at < 0 ? "" : String(at);
    select.onchange = () => {
      if (select.value !== "strange") set(select.value === "" ? undefined : schema.enum[Number(select.value)]);
      this.tell();
    };
    return this.field(pointer, label, schema, select, required, ...beside);
  }

  check(schema, value, set, pointer, label, required, ...beside) {
    const select = h("select", {}, (!required || value === undefined) && h("option", { value: "" }, "(left out)"), h("option", { value: "true" }, "yes"), h("option", { value: "false" }, "no"));
    select.value = value === undefined ? "" : String(value);
    select.onchange = () => { set(select.value === "" ? undefined : select.value === "true"); this.tell(); };
    return this.field(pointer, label, schema, select, required, ...beside);
  }

  number(schema, value, set, pointer, label, required, ...beside) {
    const input = h("input", { inputmode: "decimal", autocomplete: "off", value: value === undefined ? "" : String(value), placeholder: required ? null : "left out" });
    input.oninput = () => {
      const text = input.value.trim();
      const plain = /^-?\d+(\.\d+)?([eE][+-]?\d+)?$/.test(text);
      set(text === "" ? undefined : plain ? Number(text) : text); // no number goes as it is typed, and the server says so
      this.tell();
    };
    return this.field(pointer, label, schema, input, required, ...beside);
  }

  string(schema, value, set, pointer, label, required, ...beside) {
    const long = (value || "").length > 60 || (value || "").includes("\n") || schema.maxLength > 120;
    const kinds = { date: "date", uri: "url", "uri-reference": "url", email: "email" };
    // A day that the browser's own field would not show is edited as text.
    const type = schema.format === "date" && value && !/^\d{4}-\d\d-\d\d$/.test(value) ? "text" : kinds[schema.format] || "text";
    const input = long ? h("textarea", { rows: "3" }) : h("input", { type, autocomplete: "off", spellcheck: "false", placeholder: schema.format === "date-time" ? "2027-01-05T09:00:00Z" : required ? null : "left out" });
    input.value = value ?? "";
    input.oninput = () => { set(input.value === "" && !required ? undefined : input.value); this.tell(); };
    return this.field(pointer, label, schema, input, required, ...beside);
  }

  // raw edits what no form fits, or a value of another type than is wanted.
  raw(schema, value, set, pointer, label, required, ...beside) {
    const input = h("textarea", { rows: "3", spellcheck: "false", class: "code" });
    input.value = value === undefined ? "" : JSON.stringify(value, null, 2);
    input.oninput = () => {
      const field = this.fields.get(pointer);
      field.clear();
      try {
        set(input.value.trim() === "" ? undefined : JSON.parse(input.value));
      } catch {
        field.say("is no JSON yet");
        return;
      }
      this.tell();
    };
    return this.field(pointer, label, schema, input, required, h("span", { class: "hint" }, "JSON"), ...beside);
  }

  choice(schema, value, set, pointer, label, required, ...beside) {
    const list = alternatives(schema).map((s) => resolve(s, this.root));
    const chosen = Math.max(0, list.findIndex((s) => fits(value, s, this.root)));
    const select = h("select", {}, list.map((s, i) => h("option", { value: String(i) }, s.title || ("const" in s ? JSON.stringify(s.const) : `${i + 1}: ${[s.type || "value"].flat().join(" or ")}`))));
    select.value = String(chosen);
    select.onchange = () => { set(blank(list[Number(select.value)], this.root)); this.reshape(pointer + "#choice"); };
    const part = this.edit(list[chosen], value, set, pointer, "Value", true);
    select.dataset.pointer = pointer + "#choice";
    select.setAttribute("aria-label", label + ": which shape");
    return h("fieldset", {}, h("legend", {}, schema.title || label, required === true && h("span", { class: "required" }, "required"), ...beside), h("div", { class: "field" }, select), part);
  }

  // setter changes one member of a list or an object.
  setter(holder, name) {
    return (v) => {
      if (v === undefined && !Array.isArray(holder)) delete holder[name];
      else holder[name] = v === undefined ? null : v;
    };
  }

  list(schema, value, set, pointer, label, required, ...beside) {
    if (value === undefined) set(value = []);
    const items = value.map((v, i) => h("div", { class: "item" }, this.edit(schema.prefixItems?.[i] || schema.items || {}, v, this.setter(value, i), child(pointer, i), `${label} ${i + 1}`, "item",
      i > 0 && this.small("↑", () => { value.splice(i - 1, 0, ...value.splice(i, 1)); this.reshape(child(pointer, i - 1)); }, `Move ${label} ${i + 1} up`),
      this.small("remove", () => { value.splice(i, 1); this.reshape(pointer); }, `Remove ${label} ${i + 1}`))));
    const add = h("button", { type: "button", class: "quiet small", onclick: () => {
      value.push(blank(schema.prefixItems?.[value.length] || schema.items || {}, this.root));
      this.reshape(child(pointer, value.length - 1));
    } }, "Add to " + label);
    return this.fieldset(schema, pointer, label, required, [...items, add], () => { set(undefined); this.reshape(pointer); }, add, ...beside);
  }

  group(schema, value, set, pointer, label, required, ...beside) {
    if (value === undefined) set(value = {});
    const anchor = h("span", { tabindex: "-1" });
    return this.fieldset(schema, pointer, label, required, this.members(schema, value, () => {}, pointer), () => { set(undefined); this.reshape(pointer); }, anchor, ...beside);
  }

  // fieldset holds a list or an object; errors of the whole stand at its end.
  fieldset(schema, pointer, label, required, parts, remove, anchor, ...beside) {
    const id = this.prefix + this.fields.size;
    const error = h("p", { class: "wrong", id: id + "-error", hidden: true });
    anchor.dataset.pointer = pointer;
    const set = h("fieldset", {}, h("legend", {}, schema.title || label, required ? required === true && h("span", { class: "required" }, "required") : this.small("leave out", remove, "Leave out " + label), ...beside),
      schema.description && h("p", { class: "hint" }, schema.description), parts, error);
    this.fields.set(pointer, {
      clear() { error.hidden = true; error.textContent = ""; set.removeAttribute("aria-describedby"); },
      say(words) { error.append(h("span", {}, words)); error.hidden = false; set.setAttribute("aria-describedby", error.id); },
    });
    return set;
  }

  // members are an object's known names in the schema's order, then the others.
  members(schema, value, set, pointer) {
    if (typeOf(value) !== "object") return [this.raw({}, value, set, pointer, "Data", true)];
    const required = schema.required || [];
    const known = Object.keys(schema.properties || {});
    const parts = known.map((name) => this.edit(schema.properties[name], value[name], this.setter(value, name), child(pointer, name), name, required.includes(name)));
    const others = Object.keys(value).filter((name) => !known.includes(name)).map((name) =>
      this.edit(typeof schema.additionalProperties === "object" ? schema.additionalProperties : {}, value[name], this.setter(value, name), child(pointer, name), name, false,
        this.small("remove", () => { delete value[name]; this.reshape(pointer); }, "Remove " + name)));
    return [...parts, ...others, ...this.adder(schema, value, pointer, known)];
  }

  // adder adds a name, where the schema lets any name be.
  adder(schema, value, pointer, known) {
    if (typeof schema.additionalProperties !== "object") return [];
    const input = h("input", { placeholder: "name", "aria-label": "Name to add", size: "12", autocomplete: "off" });
    const add = () => {
      const name = input.value.trim();
      if (!name || name in value || known.includes(name) || name === "__proto__") return;
      value[name] = blank(schema.additionalProperties, this.root);
      this.reshape(child(pointer, name));
    };
    input.onkeydown = (e) => { if (e.key === "Enter") { e.preventDefault(); add(); } };
    return [h("div", { class: "row adder" }, input, h("button", { type: "button", class: "quiet small", onclick: add }, "Add"))];
  }
}
