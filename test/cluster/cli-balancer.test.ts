/** `holdfast balancer` as a process of its own, its configurations checked by the programs that they are for. */
import { spawn } from 'node:child_process'
import { chmod, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { within } from '../setup/servers.ts'

const CLI = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))
const CLEAN = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('HOLDFAST_')))
const TO = 'web1=http://127.0.0.1:3001,web2=http://localhost:3002,http://[::1]:3003'

interface Ended {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

async function run(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ended> {
  const child = spawn(process.execPath, ['--no-warnings', CLI, 'balancer', ...args], { env: { ...CLEAN, ...env }, stdio: 'pipe' })
  let [out, err] = ['', '']
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()))
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
  try {
    return { code: await within(ended, 30_000, `holdfast balancer ${args.join(' ')}`), out, err }
  } finally {
    child.kill('SIGKILL')
  }
}

describe('holdfast balancer', () => {
  for (const name of ['nginx', 'haproxy']) {
    test(`${name} - the balancer accepts every configuration`, async () => {
      const policies = ['affinity', 'hash', 'least-connections', 'round-robin']
      const ended = await Promise.all(
        policies.map((policy) => run([name, '--to', TO, '--policy', policy, '--health', '/health', '--check'])),
      )
      for (const { code, err, out } of ended) {
        expect(err).toBe(`holdfast: ${name} accepts this configuration.\n`)
        expect(code).toBe(0)
        expect(out).toContain('127.0.0.1:3001')
      }
    })
  }

  test('nginx - more servers than pairs are written for, and names like those of others, are accepted', async () => {
    const to = Array.from({ length: 12 }, (_, index) => `a_${index}-b=http://127.0.0.1:${4_000 + index}`).join(',')
    expect(await run(['nginx', '--to', to, '--check'])).toMatchObject({ code: 0, err: 'holdfast: nginx accepts this configuration.\n' })
  })

  test('nginx - sticky route from 1.29.6 on, the map before', async () => {
    expect((await run(['nginx', '--to', TO, '--nginx-version', '1.29.6'])).out).toContain('sticky route $holdfast_owner;')
    expect((await run(['nginx', '--to', TO, '--nginx-version', '1.29.5'])).out).not.toContain('sticky')
    expect(await run(['nginx', '--to', TO, '--nginx-version', 'new'])).toMatchObject({ code: 2, out: '' })
  })

  test('envoy, caddy, traefik, kubernetes - are written, and what cannot be checked here is said', async () => {
    for (const name of ['envoy', 'caddy', 'traefik', 'kubernetes']) {
      // A folder without programs in place of PATH: none is found, whatever this machine has.
      const folder = await mkdtemp(join(tmpdir(), 'holdfast-path-'))
      try {
        await symlink(process.execPath, join(folder, 'node'))
        const to = name === 'kubernetes' ? 'http://app:3000' : TO
        const ended = await run([name, '--to', to, '--check'], { PATH: folder })
        expect(ended.code, ended.err).toBe(0)
        expect(ended.err).toMatch(/not checked\.\n$|accepts this configuration\.\n$/)
        expect(ended.out).toContain('holdfast balancer')
      } finally {
        await rm(folder, { recursive: true, force: true })
      }
    }
  })

  test('a configuration that the validator refuses ends with 1 and the reason', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'holdfast-path-'))
    try {
      const program = join(folder, 'envoy')
      await writeFile(program, '#!/bin/sh\necho "error: line 3 is wrong" >&2\nexit 1\n')
      await chmod(program, 0o755)
      const ended = await run(['envoy', '--to', TO, '--check'], { PATH: `${folder}:${process.env.PATH}` })
      expect(ended).toMatchObject({ code: 1, err: 'holdfast: envoy refuses this configuration: error: line 3 is wrong\n' })
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })

  test('wrong usage is one line and exit code 2', async () => {
    const cases: [string[], RegExp][] = [
      [[], /./],
      [['apache', '--to', TO], /Name one balancer/],
      [['nginx'], /name at least one server/],
      [['nginx', '--to', 'http://app:3000;x'], /server 1: give http/],
      [['nginx', '--to', 'http://app:3000,http://app:3000'], /server 2: another one has its address/],
      [['nginx', '--to', TO, '--port', '99999'], /port: give a number/],
      [['caddy', '--to', TO, '--policy', 'hash'], /Caddy cannot hash/],
    ]
    for (const [args, why] of cases) {
      const { code, err, out } = await run(args)
      expect(err.trim().split('\n'), args.join(' ')).toHaveLength(1)
      expect({ code, out }, args.join(' ')).toEqual({ code: 2, out: '' })
      expect(err).toMatch(why)
    }
  })
})
