import { type AccessPolicy, needsKey, requestAccess, routeAccess } from "../access/route-access.ts";
import { type Json, problemResponses } from "./openapi-schemas.ts";

/** The OpenAPI document's description of API keys. */
export const SECURITY_SCHEMES: Json = {
  apiKey: {
    type: "http",
    scheme: "bearer",
    description: "An API key, as `tideline keys create` prints it. Only routes with a lock need one on this server.",
  },
};

/**
 * Returns the paths with the security of a server with this policy: paths that need a key get the scheme and the
 * refusals.
 */
export function withSecurity(paths: Json, policy: AccessPolicy): Json {
  return Object.fromEntries(
    Object.entries(paths).map(([path, item]) => {
      const access = routeAccess(path);
      if (access === null) return [path, item];
      const [ofView, ofTable] = [true, false].map((isView) =>
        needsKey(requestAccess(access, isView, undefined), policy),
      );
      if (!ofTable) return [path, item];
      // An empty requirement says that some requests need no key.
      const security = ofView ? [{ apiKey: [] }] : [{}, { apiKey: [] }];
      const { get, ...others } = item as { readonly get: Json };
      const responses = { ...(get.responses as Json), ...problemResponses("401", "403") };
      return [path, { ...others, get: { ...get, security, responses } }];
    }),
  );
}
