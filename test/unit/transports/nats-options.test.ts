import { expect, test } from 'vitest'
import { SessionError } from '../../../src/errors.ts'
import { natsTransport } from '../../../src/transports/nats.ts'
import { checkNatsOptions, type NatsTransportOptions } from '../../../src/transports/nats-options.ts'
import { withoutDriver } from '../../setup/missing-driver.ts'

const SECRET = 'a secret of this test, long enough for it'
const valid: NatsTransportOptions = { cluster: 'shop', secrets: SECRET, servers: 'nats://127.0.0.1' }

function problemsOf(options: object): string {
  try {
    natsTransport({ ...valid, ...options })
  } catch (error) {
    if (SessionError.is(error) && error.code === 'CONFIG_INVALID') return error.message
    throw error
  }
  return ''
}

test('natsTransport - all problems are reported together, without any value', () => {
  const message = problemsOf({ cluster: 'a b', secrets: ['too short'], servers: ['http://x'], pass: 5, timeoutMs: 1 })
  for (const name of ['cluster', 'secrets.0', 'servers.0', 'pass', 'timeoutMs: is not an option']) expect(message).toContain(name)
  for (const value of ['a b', 'too short', 'http://x']) expect(message).not.toContain(value)
})

test('natsTransport - credentials in an address are refused, and not repeated', () => {
  const message = problemsOf({ servers: 'nats://user:hidden@127.0.0.1:4222' })
  expect(message).toMatch(/servers\.0: must hold no credentials: give user and pass, token or authenticator/)
  expect(message).not.toContain('hidden')
})

test('natsTransport - contradictions are refused', () => {
  expect(problemsOf({ secrets: undefined })).toContain('secrets')
  expect(problemsOf({ secrets: [] })).toContain('secrets')
  expect(problemsOf({ servers: [] })).toContain('servers')
  expect(problemsOf({ heartbeatMs: 500, silenceMs: 1000 })).toContain('at least 3 times heartbeatMs')
  expect(problemsOf({ servers: 'tls://x', tls: null })).toContain('exclude each other')
  expect(problemsOf({ reconnect: true })).toContain('reconnect: is not an option')
})

test('natsTransport - servers are given as host, host:port or URL; tls:// demands TLS', () => {
  const servers = ['127.0.0.1', 'nats.svc:4223', 'nats://[::1]:4222', 'nats://host']
  expect(checkNatsOptions({ ...valid, servers }).servers).toEqual(['127.0.0.1', 'nats.svc:4223', '[::1]:4222', 'host'])
  expect(checkNatsOptions(valid).driver.tls).toBeUndefined()
  expect(checkNatsOptions({ ...valid, servers: 'tls://host' }).driver.tls).toEqual({})
})

test('natsTransport - the driver loads with start() and not before; a missing one is named with its install command', async () => {
  const printed = await withoutDriver(
    'transports',
    `import { natsTransport } from './transports/nats.ts'
     import { systemRuntime } from './core/runtime.ts'
     const transport = natsTransport({ cluster: 'c', secrets: '${SECRET}', servers: '127.0.0.1:1' })
     const self = { node: 'a', incarnation: 'a1' }
     await transport.start({ self, runtime: systemRuntime(), logger: console, frame() {}, up() {}, down() {} })
       .catch(({ code, message }) => console.log(code, message))
     await transport.close()`,
    ['valibot'],
  )
  expect(printed).toBe(
    'DEPENDENCY_MISSING natsTransport needs the package @nats-io/transport-node, which is not installed: npm install @nats-io/transport-node',
  )
})
