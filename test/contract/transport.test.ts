import { beforeAll, describe, expect, test } from 'vitest'
import { transportContract, type TransportUnderTest } from '../../src/testing/transport-contract.ts'
import { memoryNetwork } from '../../src/transports/memory.ts'
import { type TcpTransport, type TcpTransportOptions, tcpTransport } from '../../src/transports/tcp.ts'
import { makeCertificates } from '../unit/transports/certificates.ts'

const SECRET = 'a secret of this test, long enough for the mesh'

function run(make: () => Promise<TransportUnderTest>): void {
  for (const { name, run: body, skip } of transportContract(make)) {
    test.skipIf(skip !== undefined)(`${name}`, { timeout: 30_000 }, () => expect(body()).resolves.toBeUndefined())
  }
}

/** Each new server is told the addresses of those already running: no port is guessed. */
async function tcpNetwork(security: Pick<TcpTransportOptions, 'secrets' | 'tls' | 'plaintext'>): Promise<TransportUnderTest> {
  const started: TcpTransport[] = []
  return {
    transport() {
      const peers = started.map((other) => other.address()?.port).filter((port) => port !== undefined)
      const transport = tcpTransport({
        cluster: 'contract',
        host: '127.0.0.1',
        port: 0,
        peers: peers.map((port) => `127.0.0.1:${port}`),
        ...security,
      })
      started.push(transport)
      return transport
    },
  }
}

describe('memory transport', () => {
  run(async () => {
    const network = memoryNetwork()
    return { transport: () => network.join() }
  })
})

describe('memory transport with latency', () => {
  run(async () => {
    const network = memoryNetwork({ latencyMs: [1, 8], seed: 5 })
    return { transport: () => network.join() }
  })
})

describe('tcp transport, pre-shared key', () => {
  run(() => tcpNetwork({ secrets: SECRET }))
})

describe('tcp transport, plaintext', () => {
  run(() => tcpNetwork({ plaintext: true }))
})

describe('tcp transport, mutual TLS', () => {
  let tls: NonNullable<TcpTransportOptions['tls']>
  beforeAll(() => {
    tls = makeCertificates()
  })
  run(() => tcpNetwork({ tls }))
})
