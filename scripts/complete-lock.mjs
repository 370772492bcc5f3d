// Adds to package-lock.json the optional packages of other platforms that npm left out because the registry in use does not carry
// them: `npm ci` refuses a lock file without them. Run it after `npm install` when test/package/lock-file.test.ts says so.
import { readFileSync, writeFileSync } from 'node:fs'
import process from 'node:process'

const SYSTEMS = ['aix', 'android', 'darwin', 'freebsd', 'linux', 'netbsd', 'openbsd', 'openharmony', 'sunos', 'win32']
const PROCESSORS = ['arm64', 'arm', 'ia32', 'loong64', 'mips64el', 'ppc64', 'riscv64', 's390x', 'x64', 'wasm32']

/**
 * @typedef {{ version: string, dev?: boolean, optional?: boolean, peer?: boolean, os?: string[], cpu?: string[], libc?: string[], optionalDependencies?: Record<string, string> }} Locked
 */

/**
 * What is missing, by path in node_modules. Only exact versions count: platform packages are pinned so.
 * @param {Record<string, Locked>} packages
 * @returns {Record<string, Locked>}
 */
export function missingPlatforms(packages) {
  /** @type {Record<string, Locked>} */
  const missing = {}
  for (const [path, { optionalDependencies = {}, dev, peer }] of Object.entries(packages)) {
    if (path === '') continue
    for (const [name, version] of Object.entries(optionalDependencies)) {
      const [system] = SYSTEMS.filter((word) => name.split(/[-/]/).includes(word))
      const processor = PROCESSORS.find((word) => name.split('-').includes(word))
      // Where npm finds it: inside the package that wants it, else at the top.
      const inside = `${path}/node_modules/${name}`
      const top = `node_modules/${name}`
      const place = (packages[top] ?? missing[top]) === undefined ? top : inside
      if (
        [packages[inside], packages[top], missing[top]].some((entry) => entry?.version === version) ||
        !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version)
      )
        continue
      if (processor === undefined) continue
      missing[place] = {
        version,
        cpu: [processor],
        ...(dev && { dev }),
        ...(name.endsWith('musl') && { libc: ['musl'] }),
        ...(name.endsWith('gnu') && { libc: ['glibc'] }),
        optional: true,
        ...(system !== undefined && { os: [system] }),
        ...(peer && { peer }),
      }
    }
  }
  return missing
}

if (process.argv[1]?.endsWith('complete-lock.mjs')) {
  const lock = JSON.parse(readFileSync('package-lock.json', 'utf8'))
  const added = missingPlatforms(lock.packages)
  const all = Object.entries({ ...lock.packages, ...added })
  lock.packages = Object.fromEntries(all.toSorted(([a], [b]) => (a < b ? -1 : 1)))
  writeFileSync('package-lock.json', `${JSON.stringify(lock, undefined, 2)}\n`)
  process.stdout.write(`added ${Object.keys(added).length} packages\n`)
}
