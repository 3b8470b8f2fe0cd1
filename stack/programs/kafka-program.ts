import { writeFile } from "node:fs/promises";
import { dirname, extname, join } from "node:path";
import { execa } from "execa";
import { TidelineError } from "../../core/errors.ts";
import { run } from "../process/run.ts";
import type { Work } from "../process/work.ts";
import { cached, exists } from "./cache.ts";
import { canInstallPackages, findProgram, installPackages, serverMissing } from "./programs.ts";

export const kafkaVersion = "4.1.0";
const javaAtLeast = 17;

/** The commands of Kafka's two programs. Each takes its own arguments after these. */
export interface KafkaProgram {
  readonly server: readonly [string, ...string[]];
  readonly storage: readonly [string, ...string[]];
}

/** Kafka as Maven artifacts. slf4j-simple writes Kafka's log lines. */
const pom = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>tideline.local</groupId>
  <artifactId>kafka</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>${kafkaVersion}</version>
    </dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
`;

async function fetchJars(folder: string, work: Work): Promise<void> {
  const pomFile = join(folder, "pom.xml");
  await writeFile(pomFile, pom);
  const goal = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies";
  const args = ["-B", "-f", pomFile, goal, `-DoutputDirectory=${folder}`, "-DincludeScope=runtime"];
  await run("mvn", args, work, {
    onLine: (line) => {
      const file = /^(?:\[INFO\] )?Downloading .*\/([^/]+\.jar)$/.exec(line)?.[1];
      if (file !== undefined) work.report(`fetching ${file}`);
    },
  });
}

/** Finds Java and Maven. Installs them if they are missing and that needs no permission. */
async function requirePrograms(programs: readonly string[], cacheDir: string, work: Work): Promise<void> {
  const missing = async () => {
    for (const program of programs) if ((await findProgram(program)) === undefined) return program;
    return undefined;
  };
  if ((await missing()) === undefined) return;
  if (await canInstallPackages()) await installPackages(cacheDir, ["default-jre-headless", "maven"], work);
  const program = await missing();
  if (program === undefined) return;
  const names = {
    "apt-get": "default-jre-headless maven",
    brew: "kafka",
    dnf: "java-headless maven",
    apk: "openjdk17-jre-headless maven",
    pacman: "jre-openjdk-headless maven",
  };
  throw await serverMissing(`Kafka (it needs ${program})`, names, "KAFKA_BROKERS");
}

async function requireJavaVersion(): Promise<void> {
  const { stderr, stdout } = await execa("java", ["-version"], { reject: false });
  const major = Number(/version "(\d+)/.exec(`${stderr}${stdout}`)?.[1] ?? "0");
  if (major >= javaAtLeast) return;
  throw new TidelineError(
    "SERVER_MISSING",
    `Kafka ${kafkaVersion} needs Java ${javaAtLeast} or later; \`java\` on PATH is ` +
      `${major === 0 ? "of an unknown version" : `Java ${major}`}`,
    `Install a newer Java, or set KAFKA_BROKERS to the address of a Kafka that runs already.`,
  );
}

/** Returns Kafka's own scripts on PATH, else its jars from the cache, else from Maven. Throws `SERVER_MISSING`. */
export async function findKafka(cacheDir: string, work: Work): Promise<KafkaProgram> {
  for (const name of ["kafka-server-start.sh", "kafka-server-start"]) {
    const server = await findProgram(name);
    if (server !== undefined)
      return { server: [server], storage: [join(dirname(server), `kafka-storage${extname(name)}`)] };
  }
  const entry = `kafka-${kafkaVersion}`;
  const needed = (await exists(join(cacheDir, entry))) ? ["java"] : ["java", "mvn"];
  await requirePrograms(needed, cacheDir, work);
  await requireJavaVersion();
  const jars = await cached(cacheDir, entry, work, (folder) => fetchJars(folder, work)).catch(
    async (cause: unknown) => {
      work.signal.throwIfAborted();
      throw await serverMissing("Kafka", { brew: "kafka" }, "KAFKA_BROKERS", cause);
    },
  );
  const logger = "-Dorg.slf4j.simpleLogger";
  const logging = [
    `${logger}.defaultLogLevel=warn`,
    `${logger}.showDateTime=true`,
    `${logger}.dateTimeFormat=HH:mm:ss.SSS`,
  ];
  const java = ["java", "-Xmx512m", ...logging, "-cp", join(jars, "*")] as const;
  return { server: [...java, "kafka.Kafka"], storage: [...java, "kafka.tools.StorageTool"] };
}
