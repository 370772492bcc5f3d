/** A member in a process of its own: arguments are the NATS servers, the secret and its name. Prints what it is told. */
import { systemRuntime } from '../../../src/core/runtime.ts'
import { natsTransport } from '../../../src/transports/nats.ts'

const [servers = '', secrets = '', node = ''] = process.argv.slice(2)
const transport = natsTransport({ cluster: 'unit', secrets, servers, heartbeatMs: 200, silenceMs: 2000 })
await transport.start({
  self: { node, incarnation: `${node}-${process.pid}` },
  runtime: systemRuntime(),
  logger: console,
  frame: () => undefined,
  up: (peer) => console.log(`up ${peer.node}`),
  down: (peer, why) => console.log(`down ${peer.node}: ${why}`),
})
console.log('READY')
process.once('SIGTERM', () => {
  void transport.close().then(() => console.log('closed'))
})
