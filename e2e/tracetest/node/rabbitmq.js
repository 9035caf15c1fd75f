// Consumes a queue: node rabbitmq.js URL QUEUE. All that is known of traces here is the
// instrumentation, which is started before the client library is loaded.
const { NodeSDK } = require('@opentelemetry/sdk-node');
const { AmqplibInstrumentation } = require('@opentelemetry/instrumentation-amqplib');

const sdk = new NodeSDK({ instrumentations: [new AmqplibInstrumentation()] });
sdk.start();

const amqp = require('amqplib');

async function main([url, queue]) {
  const connection = await amqp.connect(url);
  const channel = await connection.createChannel();
  await channel.consume(queue, (message) => channel.ack(message));
  console.log('consuming');
  process.once('SIGTERM', async () => {
    await connection.close();
    await sdk.shutdown();
    process.exit(0);
  });
}

main(process.argv.slice(2));
