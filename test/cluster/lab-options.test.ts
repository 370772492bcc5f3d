import { describe, expect, test } from 'vitest'
import { labSettings } from '../../src/cli/lab-options.ts'

describe('lab options', () => {
  test('defaults: replication, three servers, 8080 and 8081', () => {
    expect(labSettings({}, {})).toEqual({
      choice: { strategy: 'replication', options: {} },
      defaults: {},
      nodes: 3,
      port: 8080,
      controlPort: 8081,
      headless: false,
      open: false,
    })
  })

  test('every flag has a variable, and the flag wins', () => {
    const env = {
      HOLDFAST_STRATEGY: 'affinity',
      HOLDFAST_NODES: '4',
      HOLDFAST_PORT: '9000',
      HOLDFAST_CONTROL_PORT: '9001',
      HOLDFAST_POLICY: 'ip-hash',
      HOLDFAST_STORE: 'redis://127.0.0.1:1',
      HOLDFAST_TRANSPORT: 'tcp',
      HOLDFAST_COPIES: '3',
      HOLDFAST_ACKS: '1',
      HOLDFAST_BACKUPS: '2',
      HOLDFAST_HEADLESS: '1',
      HOLDFAST_OPEN: 'true',
    }
    const defaults = { store: 'redis://127.0.0.1:1', transport: 'tcp', copies: 3, acks: 1, backups: 2, policy: 'ip-hash' }
    expect(labSettings({}, env)).toEqual({
      choice: { strategy: 'affinity', options: { transport: 'tcp', acks: 1, backups: 2, policy: 'ip-hash' } },
      defaults,
      nodes: 4,
      port: 9000,
      controlPort: 9001,
      headless: true,
      open: true,
    })
    const flags = { strategy: 'cookie-based', nodes: 2, controlPort: 0, policy: 'sticky', headless: false }
    expect(labSettings(flags, env)).toMatchObject({
      choice: { strategy: 'cookieBased', options: { policy: 'sticky' } },
      nodes: 2,
      controlPort: 0,
      headless: false,
    })
  })

  test.each([
    [{ strategy: 'none' }, 'Unknown strategy'],
    [{ strategy: 7 }, 'Unknown strategy'],
    [{ nodes: 17 }, '--nodes must be'],
    [{ nodes: 1 }, '--nodes must be a whole number from 2 to 16'],
    [{ nodes: 1.5 }, '--nodes must be'],
    [{ nodes: [2, 3] }, '--nodes may be given once'],
    [{ port: 8081 }, 'must differ'],
    [{ copies: 'some' }, 'copies must be'],
    [{ acks: -1 }, 'acks must be'],
    [{ store: 'sqlite:' }, 'store must be'],
    [{ strategy: 'replication', store: 'redis://127.0.0.1:1' }, 'store is an option of dedicated, not of replication'],
    [{ store: 'redis://127.0.0.1:1' }, 'store is an option of dedicated'],
    [{ strategy: 'dedicated', transport: 'tcp' }, 'transport is an option of replication and affinity'],
    [{ strategy: 'affinity', copies: '2' }, 'copies is an option of replication'],
    [{ headless: 'yes' }, '--headless takes no value'],
  ])('%j is refused', (flags, why) => {
    expect(() => labSettings(flags, {})).toThrow(why)
  })

  test('a variable that does not fit is refused too', () => {
    expect(() => labSettings({}, { HOLDFAST_NODES: 'x' })).toThrow('--nodes')
    expect(() => labSettings({}, { HOLDFAST_OPEN: 'maybe' })).toThrow('HOLDFAST_OPEN')
  })
})
