// Consumes a stream: node nats.js URL STREAM. There is no instrumentation of NATS, so the
// context is extracted by OpenTelemetry's propagator for W3C Trace Context.
const { NodeSDK } = require('@opentelemetry/sdk-node');
const { context, propagation, trace, SpanKind } = require('@opentelemetry/api');

const sdk = new NodeSDK();
sdk.start();

const { connect, AckPolicy } = require('nats');

const headers = {
  get: (carrier, name) => carrier?.get(name) || undefined,
  keys: (carrier) => carrier?.keys() ?? [],
};

async function main([url, stream]) {
  const connection = await connect({ servers: url });
  const manager = await connection.jetstreamManager();
  await manager.consumers.add(stream, { durable_name: 'node', ack_policy: AckPolicy.Explicit });
  const consumer = await connection.jetstream().consumers.get(stream, 'node');
  const messages = await consumer.consume();
  console.log('consuming');
  process.once('SIGTERM', async () => {
    await connection.close();
    await sdk.shutdown();
    process.exit(0);
  });
  for await (const message of messages) {
    const parent = propagation.extract(context.active(), message.headers, headers);
    const span = trace.getTracer('consumer').startSpan('process', {
      kind: SpanKind.CONSUMER,
      attributes: { 'messaging.system': 'nats', 'messaging.operation.type': 'process', 'messaging.destination.name': message.subject },
    }, parent);
    message.ack();
    span.end();
  }
}

main(process.argv.slice(2));
