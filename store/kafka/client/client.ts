import { compileAtOnce } from "./lazy-validators.ts";

/** The Kafka client, which loads faster this way. Other files of the program import it from here. */
export * from "@platformatic/kafka";

compileAtOnce();
