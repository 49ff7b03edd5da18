// What a form wants to know of a JSON Schema 2020-12. What is asked here is
// only how to edit a value: whether it is right, the server says.

const most = 32; // references in a row, for a schema may lead in circles

const pointerStep = (text) => decodeURIComponent(text).replaceAll("~1", "/").replaceAll("~0", "~");

function lookUp(root, ref) {
  if (ref === "#") return root;
  if (!ref.startsWith("#/")) return undefined;
  return ref.slice(2).split("/").map(pointerStep).reduce((at, step) => at?.[step], root);
}

// resolve follows $ref; what stands beside it holds as well.
export function resolve(schema, root) {
  for (let i = 0; i < most && schema && typeof schema === "object" && typeof schema.$ref === "string"; i++) {
    const { $ref, ...beside } = schema;
    const target = lookUp(root, $ref);
    if (target === undefined) return beside;
    schema = { ...(typeof target === "object" ? target : {}), ...beside };
  }
  return schema && typeof schema === "object" ? merged(schema, root) : {};
}

// merged takes an allOf of plain objects as one.
function merged(schema, root) {
  if (!Array.isArray(schema.allOf)) return schema;
  const { allOf, ...rest } = schema;
  return allOf.map((s) => resolve(s, root)).concat(rest).reduce((all, s) => ({
    ...all, ...s, properties: all.properties || s.properties ? { ...all.properties, ...s.properties } : undefined,
    required: [...(all.required || []), ...(s.required || [])],
  }), {});
}

export const typeOf = (value) => (value === null ? "null" : Array.isArray(value) ? "array" : typeof value);

const types = (schema) => [schema.type].flat().filter(Boolean);

export const nullable = (schema) => types(schema).includes("null");

// kind is how a value is edited: const, enum, choice, boolean, number, string,
// array, object, or json where no form fits.
export function kind(schema) {
  if ("const" in schema) return "const";
  if (Array.isArray(schema.enum)) return "enum";
  if (alternatives(schema)) return "choice";
  const named = types(schema).filter((t) => t !== "null");
  if (named.length > 1) return "json";
  if (named[0] === "integer") return "number";
  if (named[0]) return known(named[0]);
  if (schema.properties) return "object";
  if (schema.items || schema.prefixItems) return "array";
  return schema.format || schema.minLength || schema.pattern ? "string" : "json";
}

const known = (type) => (["string", "number", "boolean", "array", "object"].includes(type) ? type : "json");

export function alternatives(schema) {
  const list = schema.oneOf || schema.anyOf;
  return Array.isArray(list) && list.length > 0 ? list : null;
}

// fits guesses whether a value was meant as a shape: by its type, its constants
// and the names that it must have.
export function fits(value, schema, root) {
  schema = resolve(schema, root);
  if ("const" in schema) return JSON.stringify(schema.const) === JSON.stringify(value);
  if (Array.isArray(schema.enum)) return schema.enum.some((v) => JSON.stringify(v) === JSON.stringify(value));
  const named = types(schema);
  const type = typeOf(value);
  if (named.length && !named.includes(type) && !(type === "number" && named.includes("integer"))) return false;
  if (type !== "object") return true;
  if ((schema.required || []).some((name) => !(name in value))) return false;
  return Object.entries(schema.properties || {}).every(([name, s]) => !(name in value) || !("const" in resolve(s, root)) || fits(value[name], s, root));
}

// blank is a value to begin with.
export function blank(schema, root, depth = 0) {
  schema = resolve(schema, root);
  if ("default" in schema) return structuredClone(schema.default);
  if (depth > 8) return null;
  switch (kind(schema)) {
    case "const": return schema.const;
    case "enum": return schema.enum[0];
    case "choice": return blank(alternatives(schema)[0], root, depth + 1);
    case "boolean": return false;
    case "number": return schema.minimum ?? 0;
    case "string": return "";
    case "array": return [];
    case "object": return Object.fromEntries((schema.required || []).map((name) => [name, blank(schema.properties?.[name] || {}, root, depth + 1)]));
  }
  return null;
}

// infer makes a schema of a sample, for templates that have none.
export function infer(value) {
  switch (typeOf(value)) {
    case "object": return { type: "object", properties: Object.fromEntries(Object.entries(value).map(([name, v]) => [name, infer(v)])) };
    case "array": return { type: "array", items: value.length ? infer(value[0]) : {} };
    case "null": return {};
  }
  return { type: typeOf(value) };
}
