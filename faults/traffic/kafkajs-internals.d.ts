// The part of kafkajs below its consumer: the consumer shows neither control records nor which transaction a record
// belongs to.

interface KafkajsRecord {
  readonly offset: string;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: Readonly<Record<string, Buffer | string | (Buffer | string)[] | undefined>>;
  readonly isControlRecord: boolean;
  readonly batchContext: { readonly producerId: string; readonly inTransaction: boolean };
}

interface KafkajsFetchRequest {
  readonly isolationLevel: 0 | 1;
  readonly maxWaitTime: number;
  readonly minBytes: number;
  readonly maxBytes: number;
  readonly topics: readonly {
    readonly topic: string;
    readonly partitions: readonly {
      readonly partition: number;
      readonly fetchOffset: string;
      readonly maxBytes: number;
    }[];
  }[];
}

interface KafkajsBroker {
  fetch(request: KafkajsFetchRequest): Promise<{
    readonly responses: readonly {
      readonly partitions: readonly { readonly partition: number; readonly messages: readonly KafkajsRecord[] }[];
    }[];
  }>;
}

declare module "kafkajs/src/cluster/index.js" {
  export default class Cluster {
    constructor(options: {
      logger: unknown;
      socketFactory: unknown;
      brokers: string[];
      clientId: string;
      connectionTimeout: number;
      requestTimeout: number;
      enforceRequestTimeout: boolean;
      metadataMaxAge: number;
      allowAutoTopicCreation: boolean;
      maxInFlightRequests: null;
      isolationLevel: 0 | 1;
      retry: { retries: number };
    });
    connect(): Promise<void>;
    disconnect(): Promise<void>;
    addTargetTopic(topic: string): Promise<void>;
    refreshMetadata(): Promise<void>;
    findTopicPartitionMetadata(topic: string): readonly { readonly partitionId: number; readonly leader: number }[];
    findBroker(options: { nodeId: number | string }): Promise<KafkajsBroker>;
  }
}

declare module "kafkajs/src/loggers/index.js" {
  export function createLogger(options: { level: number; logCreator: unknown }): unknown;
}

declare module "kafkajs/src/network/socketFactory.js" {
  export default function createSocketFactory(): unknown;
}
