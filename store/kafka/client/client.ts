import { compileAtOnce } from "./lazy-validators.ts";

/** The Kafka client, without the time that loading it takes. Other files of the program import it from here. */
export * from "@platformatic/kafka";

compileAtOnce();
