// Installs the dependencies when the lock file differs from what is installed, and says so with a stamp.
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import process from 'node:process'
import { npm } from './npm.mjs'
import { say } from './process.mjs'

const STAMP = 'node_modules/.cache/holdfast-setup'

export async function installDependencies() {
  const wanted = createHash('sha256').update(readFileSync('package-lock.json')).update(`${process.platform}-${process.arch}`).digest('hex')
  if (stamp() === wanted) return
  if (!isInstalled()) {
    const startedAt = Date.now()
    say('installing the dependencies (npm ci) …')
    await npm(['ci', '--include=dev', '--engine-strict=false', '--prefer-offline', '--no-audit', '--no-fund'])
    say(`dependencies installed in ${Math.round((Date.now() - startedAt) / 1000)} s`)
  }
  mkdirSync('node_modules/.cache', { recursive: true })
  writeFileSync(STAMP, wanted)
}

function stamp() {
  try {
    return readFileSync(STAMP, 'utf8')
  } catch {
    return ''
  }
}

/**
 * @typedef {{ version?: string, optional?: boolean, os?: string[], cpu?: string[] }} Locked
 */

/**
 * Whether npm's own record of node_modules equals the lock file: then somebody installed already. Optional packages are not all
 * there, whatever the platform; but some must be this platform's, or the folder came from another machine.
 */
function isInstalled() {
  const wanted = packages('package-lock.json')
  const there = packages('node_modules/.package-lock.json')
  if (wanted === undefined || there === undefined) return false
  const entries = Object.entries(wanted).filter(([path]) => path !== '')
  const isThere = (/** @type {string} */ path) => there[path]?.version === wanted[path]?.version && existsSync(`${path}/package.json`)
  const needed = entries.filter(([, locked]) => !locked.optional)
  const ofThisPlatform = entries.filter(([, { os, cpu }]) => os?.includes(process.platform) && cpu?.includes(process.arch))
  return needed.every(([path]) => isThere(path)) && (ofThisPlatform.length === 0 || ofThisPlatform.some(([path]) => isThere(path)))
}

/**
 * @param {string} path
 * @returns {Record<string, Locked> | undefined}
 */
function packages(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8')).packages
  } catch {
    return undefined
  }
}
