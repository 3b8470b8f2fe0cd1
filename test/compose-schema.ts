/** The parts of the compose specification that docker-compose.yml uses; what is not named here is refused. */
const text = { type: "string", minLength: 1 } as const;
const texts = { type: "array", items: { type: "string" }, minItems: 1 } as const;
const duration = { type: "string", pattern: "^(\\d+(ms|s|m|h))+$" } as const;
const size = { type: "string", pattern: "^\\d+[kmg]$" } as const;
const scalar = { type: ["string", "number"] } as const;
const scalars = { type: "object", additionalProperties: scalar } as const;
/** `name:` with nothing after it is a network or volume with all defaults. */
const declared = (properties: object) =>
  ({
    type: "object",
    additionalProperties: { anyOf: [{ type: "null" }, { type: "object", properties, additionalProperties: false }] },
  }) as const;

const healthcheck = {
  type: "object",
  required: ["test", "interval", "timeout", "retries"],
  properties: {
    test: { ...texts, minItems: 2, contains: { enum: ["CMD", "CMD-SHELL"] } },
    interval: duration,
    timeout: duration,
    start_period: duration,
    retries: { type: "integer", minimum: 1 },
  },
  additionalProperties: false,
} as const;

const service = {
  type: "object",
  required: ["image", "networks", "restart", "logging", "deploy"],
  properties: {
    build: text,
    image: text,
    init: { type: "boolean" },
    read_only: { type: "boolean" },
    tmpfs: texts,
    cap_drop: texts,
    security_opt: texts,
    profiles: texts,
    command: texts,
    entrypoint: texts,
    environment: scalars,
    ports: texts,
    volumes: texts,
    networks: texts,
    stop_grace_period: duration,
    restart: { type: "string", pattern: "^(unless-stopped|on-failure:\\d+)$" },
    logging: {
      type: "object",
      required: ["driver"],
      properties: { driver: text, options: scalars },
      additionalProperties: false,
    },
    depends_on: {
      type: "object",
      additionalProperties: {
        type: "object",
        required: ["condition"],
        properties: { condition: { enum: ["service_healthy", "service_completed_successfully", "service_started"] } },
        additionalProperties: false,
      },
    },
    healthcheck,
    deploy: {
      type: "object",
      required: ["resources"],
      properties: {
        resources: {
          type: "object",
          required: ["limits"],
          properties: {
            limits: {
              type: "object",
              required: ["cpus", "memory"],
              properties: { cpus: { type: "string", pattern: "^\\d+(\\.\\d+)?$" }, memory: size },
              additionalProperties: false,
            },
          },
          additionalProperties: false,
        },
      },
      additionalProperties: false,
    },
  },
  patternProperties: { "^x-": {} },
  additionalProperties: false,
} as const;

export const composeSchema = {
  type: "object",
  required: ["services"],
  properties: {
    name: { type: "string", pattern: "^[a-z0-9][a-z0-9_-]*$" },
    services: { type: "object", additionalProperties: service },
    networks: declared({ internal: { type: "boolean" } }),
    volumes: declared({}),
  },
  patternProperties: { "^x-": {} },
  additionalProperties: false,
} as const;
