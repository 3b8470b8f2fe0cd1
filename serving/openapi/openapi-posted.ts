import { mayBePosted } from "../access/route-access.ts";
import type { Json } from "./openapi-schemas.ts";

interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly required?: boolean;
  readonly description?: string;
  readonly schema: Json;
}

/** Returns the paths with a POST for each that accepts one: its parameters are in the body. */
export function withPosted(paths: Json): Json {
  return Object.fromEntries(
    Object.entries(paths).map(([path, item]) => {
      const { get } = item as { readonly get?: Json };
      return [path, get === undefined || !mayBePosted(path) ? item : { ...(item as Json), post: posted(get) }];
    }),
  );
}

function posted(get: Json): Json {
  const parameters = (get.parameters ?? []) as readonly Parameter[];
  const inBody = parameters.filter((parameter) => parameter.in === "query");
  const properties = Object.fromEntries(
    inBody.map(({ name, description, schema }) => [
      name,
      { ...schema, ...(description === undefined ? {} : { description }) },
    ]),
  );
  const required = inBody.flatMap((parameter) => (parameter.required === true ? [parameter.name] : []));
  const schema = { type: "object", properties, ...(required.length === 0 ? {} : { required }) };
  return {
    ...get,
    operationId: `${String(get.operationId)}-posted`,
    description: "The same question with its parameters in the body, for those that are too long for an address.",
    parameters: parameters.filter((parameter) => parameter.in !== "query"),
    requestBody: { content: { "application/x-www-form-urlencoded": { schema } } },
  };
}
