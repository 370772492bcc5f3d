import { expect, test } from 'vitest'
import { shielded, unshielded } from '../../../src/cli/plain-arguments.ts'
import { cac } from '../../../src/vendor/cac.ts'

const KEY = `-${'k'.repeat(42)}`

/** As the command line parses. */
function parsed(...argv: string[]): { args: unknown; user: unknown; json: unknown } {
  const cli = cac('test')
  cli.command('sessions <action> [subject]').option('--user <id>', '').option('--json', '')
  const { args, options } = cli.parse(shielded(['node', 'test', 'sessions', ...argv]), { run: false })
  return { args: args.map(unshielded), user: unshielded(options['user']), json: options['json'] }
}

test.each([
  [['list', '--user', '007'], ['list'], '007'],
  [['list', '--user=1e3'], ['list'], '1e3'],
  [['list', '--user', '12345678901234567890'], ['list'], '12345678901234567890'],
  [['list', '--user', '0x10'], ['list'], '0x10'],
  [['list', '--user', ' '], ['list'], ' '],
  [['list', '--user', 'ada'], ['list'], 'ada'],
  [['list', '--user', ''], ['list'], ''],
  [['list', '--user=', 'x'], ['list', 'x'], ''],
  [['show', KEY], ['show', KEY], undefined],
  [['list', '--user', KEY], ['list'], KEY],
  [['revoke-user', '--json', '007'], ['revoke-user', '007'], undefined],
] as const)('arguments %j stay what they are', (argv, args, user) => {
  expect(parsed(...argv)).toMatchObject({ args, user })
})

test('flags stay flags', () => {
  expect(parsed('list', '--json')).toEqual({ args: ['list'], user: undefined, json: true })
  expect(parsed('list', '--user')).toMatchObject({ user: true })
})
