// Reads an OpenAPI 3.1 document: operations, types as text, examples, curl commands. Creates no elements.

/**
 * @typedef {any} Schema A JSON Schema, or a reference to one.
 * @typedef {{method: string, path: string, operation: any}} Route `method` in upper case.
 * @typedef {{text: string, schema?: string}} TypePart Part of a type; `schema` is the name of a component.
 */

const METHODS = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];
const REFERENCE_PREFIX = "#/components/schemas/";
const MAX_EXAMPLE_DEPTH = 4; // schemas may refer to themselves
const MAX_JSON_WIDTH = 76; // characters

/**
 * The routes in the order of the spec.
 *
 * @param {any} spec OpenAPI document
 * @returns {Route[]}
 */
export function listRoutes(spec) {
  return Object.entries(spec.paths).flatMap(([path, item]) =>
    METHODS.filter((method) => method in item).map((method) => ({
      method: method.toUpperCase(),
      path,
      operation: { ...item[method], parameters: [...(item.parameters ?? []), ...(item[method].parameters ?? [])] },
    })),
  );
}

/**
 * Whether an operation requires a token.
 *
 * @param {any} spec OpenAPI document
 * @param {any} operation
 * @returns {boolean}
 */
export function requiresToken(spec, operation) {
  const alternatives = operation.security ?? spec.security ?? [];
  return alternatives.length > 0 && alternatives.every((schemes) => Object.keys(schemes).length > 0);
}

/**
 * The schema that a reference names; other schemas are returned unchanged.
 *
 * @param {any} spec OpenAPI document
 * @param {Schema} schema
 * @returns {Schema}
 */
export function resolveSchema(spec, schema) {
  return schema?.$ref ? spec.components.schemas[schema.$ref.replace(REFERENCE_PREFIX, "")] : schema;
}

/**
 * The type of a schema in words, with references to components kept apart so that they can be links.
 *
 * @param {Schema} schema
 * @returns {TypePart[]}
 */
export function describeType(schema) {
  if (schema === undefined || schema === true) return [{ text: "any" }];
  if (schema.$ref) {
    const name = schema.$ref.replace(REFERENCE_PREFIX, "");
    return [{ text: name, schema: name }];
  }
  const alternatives = schema.anyOf ?? schema.oneOf;
  if (alternatives) return joinTypes(alternatives.map(describeType));
  if (schema.enum) return [{ text: schema.enum.map((value) => JSON.stringify(value)).join(" | ") }];
  if (schema.const !== undefined) return [{ text: JSON.stringify(schema.const) }];
  if (Array.isArray(schema.type)) return joinTypes(schema.type.map((type) => describeType({ ...schema, type })));
  if (schema.type === "array") return [{ text: "array of " }, ...describeType(schema.items)];
  if (schema.type === "object" && typeof schema.additionalProperties === "object") {
    return [{ text: "object of " }, ...describeType(schema.additionalProperties)];
  }
  if (schema.format === "binary") return [{ text: "file" }];
  return [{ text: schema.type ?? "any" }];
}

function joinTypes(types) {
  return types.flatMap((parts, index) => (index ? [{ text: " or " }, ...parts] : parts));
}

/**
 * The range or number of values that a schema allows.
 *
 * @param {Schema} schema
 * @returns {string} Empty if there is no such constraint.
 */
export function describeConstraints(schema) {
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum, minItems, maxItems, minLength, maxLength } = schema;
  const facts = [];
  if (minimum !== undefined) facts.push(`≥ ${minimum}`);
  if (exclusiveMinimum !== undefined) facts.push(`> ${exclusiveMinimum}`);
  if (maximum !== undefined) facts.push(`≤ ${maximum}`);
  if (exclusiveMaximum !== undefined) facts.push(`< ${exclusiveMaximum}`);
  if (minItems !== undefined) facts.push(`at least ${minItems}`);
  if (maxItems !== undefined) facts.push(`at most ${maxItems}`);
  if (minLength !== undefined) facts.push(`at least ${minLength} characters`);
  if (maxLength !== undefined) facts.push(`at most ${maxLength} characters`);
  return facts.join(", ");
}

/**
 * The examples of a media type by name; one that is made from the schema if the document has none.
 *
 * @param {any} spec OpenAPI document
 * @param {any} mediaType
 * @returns {Record<string, any>}
 */
export function listExamples(spec, mediaType) {
  if (mediaType.examples) {
    return Object.fromEntries(Object.entries(mediaType.examples).map(([name, { value }]) => [name, value]));
  }
  if (mediaType.example !== undefined) return { example: mediaType.example };
  return mediaType.schema ? { example: makeExample(spec, mediaType.schema) } : {};
}

function makeExample(spec, schema, depth = 0) {
  const resolved = resolveSchema(spec, schema);
  if (!resolved || depth > MAX_EXAMPLE_DEPTH) return null;
  if (resolved.example !== undefined) return resolved.example;
  if (resolved.examples?.length) return resolved.examples[0];
  if (resolved.default !== undefined) return resolved.default;
  if (resolved.enum) return resolved.enum[0];
  const alternative = (resolved.anyOf ?? resolved.oneOf)?.[0];
  if (alternative) return makeExample(spec, alternative, depth + 1);
  const type = Array.isArray(resolved.type) ? resolved.type[0] : resolved.type;
  if (type === "object") {
    const properties = Object.entries(resolved.properties ?? {});
    return Object.fromEntries(properties.map(([name, value]) => [name, makeExample(spec, value, depth + 1)]));
  }
  if (type === "array") return [makeExample(spec, resolved.items, depth + 1)];
  const number = resolved.minimum ?? 0;
  return { string: "string", integer: number, number, boolean: false }[type] ?? null;
}

/**
 * JSON with short arrays and objects on one line.
 *
 * @param {any} value
 * @param {string} [indent] Of the line on which the value starts.
 * @returns {string}
 */
export function formatJson(value, indent = "") {
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  const items = Object.entries(value).map(([key, item]) => {
    const text = formatJson(item, `${indent}  `);
    return Array.isArray(value) ? text : `${JSON.stringify(key)}: ${text}`;
  });
  const line = `${open}${items.join(", ")}${close}`;
  if (indent.length + line.length <= MAX_JSON_WIDTH && !line.includes("\n")) return line;
  return `${open}\n${items.map((item) => `${indent}  ${item}`).join(",\n")}\n${indent}${close}`;
}

/**
 * A curl command that sends a request to a route, for a POSIX shell.
 *
 * @param {any} spec OpenAPI document
 * @param {Route} route
 * @param {string} baseUrl Without a slash at the end.
 * @returns {string}
 */
export function curlCommand(spec, { method, path, operation }, baseUrl) {
  const content = operation.requestBody?.content ?? {};
  const options = [];
  const defaultMethod = Object.keys(content).length ? "POST" : "GET";
  if (method !== defaultMethod) options.push(`-X ${method}`);
  if (requiresToken(spec, operation)) options.push('-H "Authorization: Bearer $TOKEN"');
  if (content["multipart/form-data"]) {
    options.push(...formOptions(spec, content["multipart/form-data"].schema));
  } else if (content["application/json"]) {
    const [example] = Object.values(listExamples(spec, content["application/json"]));
    options.push("-H 'Content-Type: application/json'", `-d ${quote(JSON.stringify(example))}`);
  }
  return ["curl", ...options, quote(baseUrl + path)].join(" ");
}

function formOptions(spec, schema) {
  const { properties = {}, required = [] } = resolveSchema(spec, schema);
  return required.flatMap((name) => {
    const field = resolveSchema(spec, properties[name]);
    const isList = field.type === "array";
    const item = isList ? resolveSchema(spec, field.items) : field;
    const isFile = item.format === "binary" || item.contentMediaType !== undefined;
    if (!isFile) return [`-F ${quote(`${name}=${makeExample(spec, item)}`)}`];
    return (isList ? ["first.mp3", "second.mp3"] : ["song.mp3"]).map((file) => `-F ${name}=@${file}`);
  });
}

/** Quote an argument for a POSIX shell where that is necessary. */
function quote(argument) {
  return /^[\w./:@%+=,-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", "'\\''")}'`;
}
