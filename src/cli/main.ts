#!/usr/bin/env node
/** The command line. One line on stderr for every error, with what to do next; `--debug` adds the stack. */
import { readFileSync } from 'node:fs'
import { type CAC, cac, type Command } from '../vendor/cac.ts'
import { BALANCER_FLAGS } from './balancer-flags.ts'
import { COMPARE_FLAGS } from './compare-options.ts'
import type { FlagHelp } from './flags.ts'
import { GATEWAY_FLAGS } from './gateway-options.ts'
import { KEYS_FLAGS } from './keys-flags.ts'
import { LAB_FLAGS } from './lab-options.ts'
import { shielded, unshielded } from './plain-arguments.ts'
import { SESSIONS_FLAGS } from './sessions-options.ts'
import { exitCodeOf, usageError } from './usage-error.ts'

type Flags = Readonly<Record<string, unknown>>
interface CommandModule {
  readonly run: (flags: Flags, args: readonly string[]) => Promise<number>
}

/** Each command loads its own code only when it is asked for. */
function program(): CAC {
  const cli = cac('holdfast')
  addFlags(cli.command('lab', 'A live cluster on this machine: shop, gateway, control page'), LAB_FLAGS)
  addFlags(cli.command('compare', 'All strategies under the same load and the same faults, measured'), COMPARE_FLAGS)
  addFlags(cli.command('gateway', 'The gateway alone, in front of your own servers'), GATEWAY_FLAGS)
  addFlags(
    cli.command('balancer <name>', 'Prints the configuration of nginx, haproxy, envoy, caddy, traefik or kubernetes'),
    BALANCER_FLAGS,
  )
  const sessions = cli.command('sessions <action> [subject]', "A store's sessions: list, show KEY, revoke KEY, revoke-user USER")
  addFlags(sessions, SESSIONS_FLAGS)
  for (const example of SESSIONS_EXAMPLES) sessions.example(`  $ holdfast sessions ${example}`)
  addFlags(cli.command('keys <action> [file]', 'Secrets: generate [FILE], rotate FILE'), KEYS_FLAGS)
  cli.option('--debug', 'Adds the stack to errors')
  cli.help()
  cli.version(packageVersion())
  return cli
}

const SESSIONS_EXAMPLES = [
  'list --store redis://127.0.0.1:6379 --user ada',
  'show KEY --store sqlite:sessions.db --json',
  'revoke-user ada --except KEY     with HOLDFAST_STORE=postgres://…',
]

function addFlags(command: Command, flags: readonly FlagHelp[]): void {
  for (const { name, value, help } of flags) command.option(value === undefined ? `--${name}` : `--${name} ${value}`, help)
}

const COMMANDS: Readonly<Record<string, () => Promise<CommandModule>>> = {
  lab: async () => ({ run: (await import('./lab.ts')).labCommand }),
  compare: async () => {
    const { compareCommand } = await import('./compare.ts')
    return { run: (flags) => compareCommand(flags, packageVersion()) }
  },
  gateway: async () => ({ run: (await import('./gateway.ts')).gatewayCommand }),
  balancer: async () => ({ run: (await import('./balancer.ts')).balancerCommand }),
  sessions: async () => ({ run: (await import('./sessions.ts')).sessionsCommand }),
  keys: async () => ({ run: (await import('./keys.ts')).keysCommand }),
}

function packageVersion(): string {
  const file = new URL('../../package.json', import.meta.url)
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
}

async function main(argv: string[]): Promise<number> {
  const cli = program()
  const parsed = usageError(() => cli.parse(shielded(argv), { run: false }))
  const options: Flags = Object.fromEntries(Object.entries(parsed.options as Flags).map(([name, value]) => [name, unshielded(value)]))
  const args = [...parsed.args, ...((options['--'] as readonly string[] | undefined) ?? [])].map((one) => unshielded(one))
  if (options['help'] === true || options['version'] === true) return 0
  const command = cli.matchedCommand
  const load = command === undefined ? undefined : COMMANDS[command.name]
  if (command === undefined || load === undefined) return usageError(() => noCommand(cli, args[0]))
  usageError(() => {
    command.checkUnknownOptions()
    command.checkOptionValue()
    if (args.length > 0 && command.args.length === 0) {
      throw new Error(`"${command.name}" takes no argument${shown(args[0])}: see holdfast ${command.name} --help`)
    }
  })
  const { run } = await load()
  return run(options, args)
}

function noCommand(cli: CAC, name: string | undefined): number {
  if (name !== undefined) throw new Error(`Unknown command${shown(name)}: see holdfast --help`)
  cli.outputHelp()
  return 0
}

/** A stray argument may be a URL with a password. */
function shown(argument: string | undefined): string {
  return argument !== undefined && /^[\w.-]{1,40}$/.test(argument) ? ` ${argument}` : ''
}

// A reader that left (`| head`) is no reason to fall over: what was started still has to be ended in order.
process.stdout.on('error', () => undefined)
try {
  process.exitCode = await main(process.argv)
} catch (error) {
  const debug = process.argv.includes('--debug') || process.env['HOLDFAST_DEBUG'] === '1'
  const text = error instanceof Error ? ((debug ? error.stack : undefined) ?? error.message) : String(error)
  process.stderr.write(`holdfast: ${debug ? text : text.replaceAll(/\s*\n\s*/g, ' ')}\n`)
  process.exitCode = exitCodeOf(error)
}
// Nothing may keep a command alive once it is done.
process.exit()
