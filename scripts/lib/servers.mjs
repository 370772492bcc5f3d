// The real servers that tests and benchmarks need: installed with apt where that is possible, else named with the command to run.
import { chmodSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import process from 'node:process'
import { shareLock } from './lock.mjs'
import { Failure, atExit, run, say } from './process.mjs'
import { installValkey } from './valkey.mjs'

/** Debian's packages of the programs that are named otherwise. @type {Readonly<Record<string, string>>} */
const PACKAGES = { postgres: 'postgresql', mariadbd: 'mariadb-server' }

const VALKEY = 'valkey-server'

const POLICY = '/usr/sbin/policy-rc.d'
const MARK = '# holdfast: removed after the installation'
const DEADLINE_MS = 10 * 60_000

/**
 * Installs those that are missing, or throws with the command to run.
 * @param {readonly string[]} programs
 */
export async function requireServers(programs) {
  const missing = await missingServers(programs)
  if (missing.length === 0) return
  throw new Failure(`${missing.join(', ')} not found: run "${commandFor(missing)}" and run this again`)
}

/**
 * Installs those that are missing where it can, and returns those that are missing still.
 * @param {readonly string[]} programs
 * @returns {Promise<string[]>}
 */
export async function missingServers(programs) {
  const missing = programs.filter((program) => !isThere(program))
  if (missing.length > 0 && canInstall()) await install(missing)
  return missing.filter((program) => !isThere(program))
}

function isPostgresThere() {
  const root = '/usr/lib/postgresql'
  return existsSync(root) && readdirSync(root).some((version) => existsSync(join(root, version, 'bin', 'initdb')))
}

/** @param {string} program */
function isThere(program) {
  // Debian keeps PostgreSQL's programs in a folder per version.
  if (program === 'postgres') return isPostgresThere()
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/bin', '/usr/sbin', '/usr/local/bin']
  return folders.some((folder) => folder !== '' && existsSync(join(folder, program)))
}

/** @param {readonly string[]} programs */
function commandFor(programs) {
  const sudo = process.getuid?.() === 0 ? '' : 'sudo '
  return existsSync('/etc/debian_version')
    ? `${sudo}apt-get install -y ${programs.map(packageOf).join(' ')}`
    : `your package manager's install of ${programs.join(' ')}`
}

/** @param {string} program */
function packageOf(program) {
  return PACKAGES[program] ?? program
}

function canInstall() {
  if (process.env.HOLDFAST_NO_INSTALL === '1') return false
  return process.getuid?.() === 0 && existsSync('/etc/debian_version') && existsSync('/usr/bin/apt-get')
}

/** @param {readonly string[]} programs */
async function install(programs) {
  say(`installing ${programs.join(', ')} with apt-get (HOLDFAST_NO_INSTALL=1 forbids it) …`)
  const allowDaemons = forbidDaemons()
  try {
    const wait = ['-o', 'DPkg::Lock::Timeout=120', '-o', 'Acquire::Retries=2']
    const fromRelease = programs.filter((program) => program !== VALKEY)
    if (fromRelease.length < programs.length) complain(await installValkey(apt))
    if (fromRelease.length === 0) return
    const packages = ['install', '-y', '--no-install-recommends', ...wait, ...fromRelease.map(packageOf)]
    const first = await apt(packages)
    if (first.code === 0) return
    // The lists of packages may be missing or old.
    await apt(['update', ...wait])
    const second = await apt(packages)
    complain(second)
  } finally {
    allowDaemons()
  }
}

/** @param {{ code: number | null, output: string }} result */
function complain({ code, output }) {
  if (code !== 0) say(`apt-get failed: ${lastLine(output)}`)
}

/** @param {readonly string[]} args */
function apt(args) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' }
  return run('apt-get', args, { env, deadlineMs: DEADLINE_MS, started: shareLock })
}

/** Debian starts a daemon with its package unless this file forbids it. One that is there already stays as it is. */
function forbidDaemons() {
  if (existsSync(POLICY) && !readFileSync(POLICY, 'utf8').includes(MARK)) return () => {}
  writeFileSync(POLICY, `#!/bin/sh\n${MARK}\nexit 101\n`)
  chmodSync(POLICY, 0o755)
  return atExit(() => rmSync(POLICY, { force: true }))
}

/** @param {string} output */
function lastLine(output) {
  return (
    output
      .trim()
      .split('\n')
      .findLast((line) => line.startsWith('E:')) ??
    output.trim().split('\n').at(-1) ??
    'no output'
  )
}
