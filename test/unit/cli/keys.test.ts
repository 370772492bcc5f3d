/** `holdfast keys` as a process of its own. */
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { secretsIn } from '../../../src/key-file.ts'

const CLI = fileURLToPath(new URL('../../../src/cli/main.ts', import.meta.url))
let folder: string
let file: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'holdfast-keys-'))
  file = join(folder, 'session.keys')
})
afterEach(() => rmSync(folder, { recursive: true }))

function keys(...args: string[]): { code: number | null; out: string; err: string } {
  const done = spawnSync(process.execPath, ['--no-warnings', CLI, 'keys', ...args], { encoding: 'utf8', timeout: 30_000 })
  return { code: done.status, out: done.stdout, err: done.stderr }
}

const secrets = (): string[] => secretsIn(readFileSync(file, 'utf8'))
const mode = (): number => statSync(file).mode & 0o777

test('keys generate prints one secret, or makes a file that only its owner reads and never overwrites one', () => {
  expect(keys('generate').out).toMatch(/^[\w-]{43}\n$/)
  const made = keys('generate', file)
  expect([made.code, made.out, mode(), secrets().length]).toEqual([0, '', 0o600, 1])
  const before = readFileSync(file, 'utf8')
  expect(keys('generate', file)).toMatchObject({ code: 1, err: expect.stringMatching(/exists already.*keys rotate/) })
  expect(readFileSync(file, 'utf8')).toBe(before)
})

test('keys rotate adds, promotes and removes, in three steps, and not before the old sessions have ended', () => {
  keys('generate', file)
  const [old] = secrets()
  expect(keys('rotate', file)).toMatchObject({ code: 0, err: expect.stringMatching(/all servers have this file/) })
  const [first, second] = secrets()
  expect([first, secrets().length, second === old]).toEqual([old, 2, false])
  expect(keys('rotate', file)).toMatchObject({ code: 0, err: expect.stringMatching(/makes new cookies/) })
  expect(secrets()).toEqual([second, old])
  const early = keys('rotate', file, '--absolute-ms', '3600000')
  expect([early.code, early.err]).toEqual([1, expect.stringMatching(/live until .*--force/)])
  expect(secrets()).toEqual([second, old])
  expect(keys('rotate', file, '--absolute-ms', '0').code).toBe(0)
  expect([secrets(), mode(), readdirSync(folder).length]).toEqual([[second], 0o600, 1])
})

test('keys rotate tightens a file that others could read, and takes one that was written by hand', () => {
  writeFileSync(file, `${'a'.repeat(32)}\n${'b'.repeat(32)}\n`)
  chmodSync(file, 0o644)
  expect(keys('rotate', file)).toMatchObject({ code: 1, err: expect.stringMatching(/since when/) })
  const forced = keys('rotate', file, '--force')
  expect([forced.code, forced.err, secrets(), mode()]).toEqual([0, expect.stringMatching(/Others could read/), ['a'.repeat(32)], 0o600])
})

test('keys says in one line what is wrong, and shows no secret', () => {
  expect(keys('rotate')).toMatchObject({ code: 2, err: expect.stringMatching(/Name the key file/) })
  expect(keys('invent')).toMatchObject({ code: 2, err: expect.stringMatching(/generate/) })
  expect(keys('rotate', join(folder, 'none'))).toMatchObject({ code: 1, err: expect.stringMatching(/does not exist.*keys generate/) })
  writeFileSync(file, 'short-and-secret\n')
  const short = keys('rotate', file)
  expect([short.code, short.err]).toEqual([1, expect.stringMatching(/line 1 is shorter/)])
  expect(short.err).not.toContain('short-and-secret')
})
