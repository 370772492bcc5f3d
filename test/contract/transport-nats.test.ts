import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { transportContract, type TransportUnderTest } from '../../src/testing/transport-contract.ts'
import { natsTransport } from '../../src/transports/nats.ts'
import { type RunningNats, startNats, startNatsCluster } from '../setup/nats.ts'

const SECRET = 'a secret of this test, long enough for the mesh'
let clusters = 0

function run(servers: () => readonly RunningNats[], only = /./): void {
  const make = async (): Promise<TransportUnderTest> => {
    // An empty network: one that nobody else uses, on the same servers.
    const cluster = `contract-${++clusters}`
    let started = 0
    return {
      transport() {
        const all = servers()
        const { url } = all[started++ % all.length] as RunningNats
        return natsTransport({ cluster, secrets: SECRET, servers: url, ignoreClusterUpdates: true })
      },
    }
  }
  for (const { name, run: body, skip } of transportContract(make).filter((one) => only.test(one.name))) {
    test.skipIf(skip !== undefined)(`${name}`, { timeout: 30_000 }, () => expect(body()).resolves.toBeUndefined())
  }
}

describe('nats transport, one NATS server', () => {
  let nats: RunningNats
  beforeAll(async () => {
    nats = await startNats()
  })
  afterAll(() => nats.stop())
  run(() => [nats])
})

describe('nats transport, three NATS servers, each member at another one', () => {
  let cluster: readonly RunningNats[]
  beforeAll(async () => {
    cluster = await startNatsCluster()
  })
  afterAll(() => Promise.all(cluster.map((server) => server.stop())))
  run(() => cluster)
})

describe('nats transport, a NATS server that takes small messages only', () => {
  let nats: RunningNats
  beforeAll(async () => {
    nats = await startNats({ config: 'max_payload: 16384' })
  })
  afterAll(() => nats.stop())
  run(() => [nats], /any size|burst/)
})
