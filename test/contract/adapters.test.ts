import { describe, expect, test } from 'vitest'
import { adapterContract, type AdapterUnderTest } from '../../src/testing/adapter-contract.ts'
import { compressAll, compressible, expressServer, fetchServer, honoServer, nodeServer } from '../setup/adapter-servers.ts'

const compressed = {
  'head - it is frozen while the commit is under way': 'the compressor ends the answer, after the handler has',
  'body - a large answer keeps its bytes, and its writer waits for drain': 'the writer waits for the compressor, not for the answer',
  'body - server-sent events: flushHeaders sends the head once stored, events follow as they are written':
    'the compressor keeps events until res.flush()',
  'body - a change after the head is reported as a late write and not stored': 'the compressor keeps the first bytes',
  'failure - a handler that is still writing is cut off, and its callbacks are called': 'compression calls no callbacks',
  'failure - a handler that throws after its whole answer: that answer leaves whole, and no second one':
    'the compressor still has the answer: Express destroys the socket, as without Holdfast',
  'client - requests on one connection, one after the other': 'looks for plain text on the wire',
}

const adapters: Record<string, AdapterUnderTest> = {
  'nodeSessions on node:http': nodeServer,
  'expressSessions on Express 5': expressServer(),
  'expressSessions, compression mounted before but not asked for': expressServer([compressible()]),
  'expressSessions, compression before': expressServer([compressAll()], [], compressed),
  'expressSessions, compression after': expressServer([], [compressAll()], compressed),
  'fetchSessions on a bridge to node:http': fetchServer(),
  'fetchSessions in Hono': honoServer(),
}

for (const [name, adapter] of Object.entries(adapters)) {
  describe(`${name}`, () => {
    for (const { name: behaviour, run, skip } of adapterContract(adapter)) {
      const title = skip === undefined ? behaviour : `${behaviour} (${skip})`
      test.skipIf(skip !== undefined)(`${title}`, () => expect(run()).resolves.toBeUndefined())
    }
  })
}
