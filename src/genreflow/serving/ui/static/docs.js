// Entry point of the API page: renders the OpenAPI document of the service.

import { codeBlock } from "./code-block.js";
import { byId, element } from "./dom.js";
import * as openapi from "./openapi.js";

/** @import {Route, Schema} from "./openapi.js" */

// The page is at /docs, beside /docs.json; both may be under a path prefix.
const specUrl = new URL("docs.json", location.href);

async function load() {
  byId("notice").hidden = true;
  try {
    const response = await fetch(specUrl, { cache: "no-store" });
    if (!response.ok) throw new Error(`status ${response.status}`);
    showSpec(await response.json());
  } catch (error) {
    byId("notice-text").textContent = `docs.json could not be loaded: ${error.message}.`;
    byId("notice").hidden = false;
  }
}

function showSpec(spec) {
  const routes = openapi.listRoutes(spec);
  const baseUrl = new URL(spec.servers?.[0]?.url ?? ".", specUrl).href.replace(/\/$/, "");
  showOverview(spec, routes, baseUrl);
  byId("routes").replaceChildren(...routes.map((route) => routeCard(spec, route, baseUrl)));
  const schemas = Object.entries(spec.components?.schemas ?? {});
  byId("schemas").hidden = !schemas.length;
  byId("schema-list").replaceChildren(...schemas.map(([name, schema]) => schemaSection(spec, name, schema)));
  openTarget();
}

function showOverview(spec, routes, baseUrl) {
  const { title, version, description = "" } = spec.info;
  document.title = `${title} API – genreflow`;
  byId("title").replaceChildren(title, " ", element("span", { class: "muted", text: `version ${version}` }));
  byId("description").textContent = description;
  byId("base-url").textContent = baseUrl;
  byId("spec-version").textContent = `OpenAPI ${spec.openapi}`;
  byId("authentication").replaceChildren(...authenticationText(spec, routes));
  byId("contents").replaceChildren(
    ...routes.map((route) => {
      const name = [element("span", { class: "method", text: route.method }), element("code", { text: route.path })];
      const link = element("a", { href: `#${routeId(route)}`, children: name });
      return element("li", { children: [link] });
    }),
  );
  byId("overview").hidden = false;
}

function authenticationText(spec, routes) {
  if (!routes.some(({ operation }) => openapi.requiresToken(spec, operation))) return ["No token is required."];
  return [
    "A token is required. Send it in the header ",
    element("code", { text: "Authorization: Bearer <token>" }),
    ". The commands below read it from the shell variable ",
    element("code", { text: "TOKEN" }),
    ".",
  ];
}

/** @param {Route} route */
const routeId = ({ method, path }) => `${method.toLowerCase()}-${path.replace(/\W+/g, "-").replace(/^-|-$/g, "")}`;
const schemaId = (name) => `schema-${name}`;

/** The description of a route: request with a curl command, parameters, responses. */
function routeCard(spec, route, baseUrl) {
  const { method, path, operation } = route;
  const id = routeId(route);
  const heading = element("h2", {
    id: `${id}-title`,
    children: [element("span", { class: "method", text: method }), element("code", { text: path })],
  });
  const texts = [operation.summary, operation.description].filter(Boolean);
  return element("section", {
    id,
    class: "card route",
    "aria-labelledby": heading.id,
    tabindex: "-1",
    children: [
      heading,
      ...texts.map((text) => element("p", { text })),
      element("h3", { text: "Request" }),
      ...requestBody(spec, operation.requestBody),
      codeBlock(openapi.curlCommand(spec, route, baseUrl), `Copy the curl command for ${path}`),
      ...parameterList(spec, operation.parameters),
      element("h3", { text: "Responses" }),
      ...Object.entries(operation.responses).map(([status, response]) => responseDetails(spec, status, response)),
    ],
  });
}

function parameterList(spec, parameters) {
  if (!parameters.length) return [];
  const items = parameters.map(({ name, schema, required, in: location, description, example }) => {
    const exampleText = example === undefined ? "" : `Example: ${example}`;
    const text = [description, exampleText].filter(Boolean).join(" ");
    return fieldItem(spec, name, schema, { required, location: `in ${location}`, description: text });
  });
  return [element("h3", { text: "Parameters" }), fieldList(items, "Parameters")];
}

function requestBody(spec, body) {
  if (!body) return [];
  const contents = Object.entries(body.content).flatMap(([mediaType, { schema }]) => [
    element("p", { class: "muted small", children: ["Body: ", element("code", { text: mediaType })] }),
    schemaFields(spec, schema, "Body"),
  ]);
  return [...(body.description ? [element("p", { text: body.description })] : []), ...contents];
}

function responseDetails(spec, status, { description, headers = {}, content = {} }) {
  const headerItems = Object.entries(headers).map(([name, header]) =>
    fieldItem(spec, name, header.schema, { location: "response header", description: header.description }),
  );
  const bodies = Object.entries(content).flatMap(([type, mediaType]) => [
    element("p", { class: "small", children: [element("code", { text: type }), " ", ...typeNodes(mediaType.schema)] }),
    ...Object.entries(openapi.listExamples(spec, mediaType)).flatMap(([name, value]) => [
      element("p", { class: "muted small", text: `Example: ${name}` }),
      codeBlock(typeof value === "string" ? value : openapi.formatJson(value)),
    ]),
  ]);
  const summary = element("summary", {
    children: [element("span", { class: "status", text: status }), element("span", { text: description })],
  });
  const children = [...bodies, ...(headerItems.length ? [fieldList(headerItems, "Response headers")] : [])];
  if (!children.length) return element("p", { class: "response", children: [...summary.childNodes] });
  const details = element("details", { class: "response", children: [summary, ...children] });
  details.open = status.startsWith("2");
  return details;
}

function schemaSection(spec, name, schema) {
  const heading = element("h3", { id: schemaId(name), tabindex: "-1", children: [element("code", { text: name })] });
  const description = schema.description ? [element("p", { text: schema.description })] : [];
  return element("section", {
    class: "schema",
    "aria-labelledby": heading.id,
    children: [heading, ...description, schemaFields(spec, schema, `Properties of ${name}`)],
  });
}

/** The properties of an object as a list; the type of any other schema. */
function schemaFields(spec, schema, label) {
  const { properties, required = [] } = openapi.resolveSchema(spec, schema);
  if (!properties) return element("p", { children: typeNodes(schema) });
  const items = Object.entries(properties).map(([name, property]) =>
    fieldItem(spec, name, property, { required: required.includes(name), description: property.description }),
  );
  return fieldList(items, label);
}

const fieldList = (items, label) => element("ul", { class: "fields", "aria-label": label, children: items });

/** A field, header or parameter: name, type, constraints, description. */
function fieldItem(spec, name, schema, { required = false, location = "", description = "" }) {
  const facts = [openapi.describeConstraints(openapi.resolveSchema(spec, schema) ?? {}), location].filter(Boolean);
  return element("li", {
    children: [
      element("code", { class: "field-name", text: name }),
      element("span", {
        class: "field-type",
        children: [...typeNodes(schema), ...facts.map((fact) => `, ${fact}`), ...(required ? [", required"] : [])],
      }),
      ...(description ? [element("span", { class: "field-description", text: description })] : []),
    ],
  });
}

/**
 * A type, in which the names of components are links.
 *
 * @param {Schema} schema
 * @returns {Node[]}
 */
function typeNodes(schema) {
  return openapi.describeType(schema).map(({ text, schema: name }) =>
    name ? element("a", { href: `#${schemaId(name)}`, text }) : element("span", { text }),
  );
}

/** Preformatted text, with a button that copies it if that button has a name. */

/** Scroll to the element that the URL names: it did not exist yet when the browser loaded the page. */
function openTarget() {
  const target = location.hash && byId(decodeURIComponent(location.hash.slice(1)));
  if (target) target.scrollIntoView();
}

byId("retry").addEventListener("click", load);
load();
