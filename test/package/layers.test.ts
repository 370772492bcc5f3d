import { basename } from 'node:path'
import { describe, expect, test } from 'vitest'
import { importsOf, sourcesUnder, walk } from './source.ts'
import type { Import, Source } from './source.ts'

const sources = sourcesUnder('src')

/** The engine: open → handler → commit. */
const ENGINE = [
  'session',
  'sessions',
  'opening',
  'request-jar',
  'request-session',
  'request-lifetime',
  'request-signal',
  'engine',
  'events',
  'schema',
]

/** The part of the system a file belongs to. */
function layerOf(path: string): string {
  const [, first = ''] = path.split('/')
  if (!first.endsWith('.ts')) return first
  const name = first.slice(0, -3)
  if (name === 'types' || name === 'seam' || name === 'errors') return 'types'
  if (ENGINE.includes(name)) return 'session'
  return name
}

const BASE = ['types', 'core']

/** What a layer may import beside itself. Types-only imports count too, where nothing else is said. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  types: [],
  core: ['types'],
  'key-file': BASE,
  browser: [],
  options: [...BASE, 'key-file'],
  stores: [...BASE, 'options'],
  transports: [...BASE, 'options'],
  cluster: [...BASE, 'options'],
  strategies: [...BASE, 'options', 'cluster'],
  session: [...BASE, 'options'],
  adapters: BASE,
  gateway: BASE,
  balancers: BASE,
  vendor: [],
}
/** These may import anything but `index.ts`. */
const FREE = ['index', 'lab', 'cli', 'testing']

/** Packages that each layer may load; `node:` is allowed to all. */
const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  types: [],
  core: ['cookie', 'lru-cache', 'valibot'],
  'key-file': [],
  browser: [],
  options: ['valibot'],
  stores: ['@redis/client', 'pg', 'mysql2', 'valibot', 'lru-cache'],
  transports: ['@nats-io/transport-node', 'valibot'],
  cluster: ['lru-cache', 'valibot'],
  strategies: ['lru-cache', 'valibot'],
  session: ['lru-cache', 'valibot'],
  adapters: [],
  gateway: ['valibot'],
  balancers: [],
  vendor: ['cac', '@clack/prompts'],
  index: [],
  lab: [],
  cli: [],
  testing: [],
}

/** Drivers are loaded when they are first used: their packages may be imported as types, or by `import()` only. */
const LAZY = ['@redis/client', 'pg', 'mysql2', '@nats-io/transport-node']

const packageOf = (specifier: string): string =>
  specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')

function complaint({ path }: Source, { specifier, file, typeOnly }: Import): string | undefined {
  const layer = layerOf(path)
  if (file === undefined) {
    if (specifier.startsWith('node:') || typeOnly) return undefined
    return (PACKAGES[layer] ?? []).includes(packageOf(specifier)) ? undefined : `${path} must not load ${specifier}`
  }
  const target = layerOf(file)
  if (file === 'src/index.ts') return `${path} must not import index.ts`
  if (target === layer || FREE.includes(layer)) return undefined
  if ((MAY_IMPORT[layer] ?? []).includes(target)) return undefined
  return `${path} (${layer}) must not import ${file} (${target})`
}

/** Files reachable through imports that exist at run time, in the order of the first cycle found. */
function firstCycle(): string[] | undefined {
  const graph = new Map(
    sources.map((source) => [
      source.path,
      importsOf(source)
        .filter((i) => !i.typeOnly)
        .flatMap((i) => i.file ?? []),
    ]),
  )
  const done = new Set<string>()
  const visit = (path: string, trail: string[]): string[] | undefined => {
    if (trail.includes(path)) return [...trail.slice(trail.indexOf(path)), path]
    if (done.has(path)) return undefined
    done.add(path)
    for (const next of graph.get(path) ?? []) {
      const cycle = visit(next, [...trail, path])
      if (cycle !== undefined) return cycle
    }
    return undefined
  }
  for (const path of graph.keys()) {
    const cycle = visit(path, [])
    if (cycle !== undefined) return cycle
  }
  return undefined
}

describe('layers', () => {
  test('imports go down only, load no foreign package, and never import index.ts', () => {
    expect(sources.flatMap((source) => importsOf(source).flatMap((found) => complaint(source, found) ?? []))).toEqual([])
  })

  test('every file belongs to a known layer', () => {
    const known = [...Object.keys(MAY_IMPORT), ...FREE]
    expect(sources.map(({ path }) => path).filter((path) => !known.includes(layerOf(path)))).toEqual([])
  })

  test('there are no cycles', () => {
    expect(firstCycle()).toBeUndefined()
  })

  test('the root, the adapters and the stores load their drivers lazily', () => {
    const eager = sources.flatMap((source) =>
      [...walk(source.tree)].flatMap(({ node }) => {
        const value = (node.source as { value?: unknown } | undefined)?.value
        const isStatic = node.type === 'ImportDeclaration' || node.type.startsWith('Export')
        return isStatic && node.importKind !== 'type' && node.exportKind !== 'type' && LAZY.includes(packageOf(String(value)))
          ? [source.path]
          : []
      }),
    )
    expect(eager).toEqual([])
  })

  test('files are named in kebab-case', () => {
    expect(sources.map(({ path }) => basename(path)).filter((name) => !/^[a-z0-9]+(-[a-z0-9]+)*\.tsx?$/.test(name))).toEqual([])
  })

  test('there are no default exports', () => {
    const found = sources.filter(({ tree }) => [...walk(tree)].some(({ node }) => node.type === 'ExportDefaultDeclaration'))
    expect(found.map(({ path }) => path)).toEqual([])
  })
})
