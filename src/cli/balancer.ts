/** `holdfast balancer NAME --to URL…`: prints a balancer's configuration. */
import { caddyConfig } from '../balancers/caddy.ts'
import { envoyConfig } from '../balancers/envoy.ts'
import { haproxyConfig } from '../balancers/haproxy.ts'
import { kubernetesConfig } from '../balancers/kubernetes.ts'
import { nginxConfig } from '../balancers/nginx.ts'
import type { BalancerOptions, BalancerPolicy } from '../balancers/options.ts'
import { traefikConfig } from '../balancers/traefik.ts'
import { VALIDATORS, validate } from './balancer-check.ts'
import { type Environment, type Flags, flagsOf } from './flags.ts'
import { usageError } from './usage-error.ts'

const WRITERS: Readonly<Record<string, (options: BalancerOptions, flags: Flags) => string>> = {
  nginx: (options, flags) => nginxConfig({ ...options, form: nginxForm(flags.text('nginx-version')) }),
  haproxy: haproxyConfig,
  envoy: envoyConfig,
  caddy: caddyConfig,
  traefik: traefikConfig,
  kubernetes: kubernetesConfig,
}

/** Resolves to the exit code: 0 also where `--check` finds no validator, and says so; 1 where the validator refuses. */
export async function balancerCommand(given: Readonly<Record<string, unknown>>, args: readonly string[]): Promise<number> {
  const name = args[0] ?? ''
  const { check, config } = usageError(() => configOf(name, given, args, process.env))
  process.stdout.write(config)
  return check ? checked(name, config) : 0
}

function configOf(
  name: string,
  given: Readonly<Record<string, unknown>>,
  args: readonly string[],
  env: Environment,
): { readonly config: string; readonly check: boolean } {
  const write = Object.hasOwn(WRITERS, name) ? WRITERS[name] : undefined
  if (write === undefined || args.length > 1)
    throw new Error(`Name one balancer: holdfast balancer ${Object.keys(WRITERS).join('|')} --to http://10.0.0.1:3000`)
  const flags = flagsOf(given, env)
  const [cookie, health, host, policy, port] = ['cookie', 'health', 'host', 'policy', 'port'].map((flag) => flags.text(flag))
  const options: BalancerOptions = {
    to: listOf(given['to'] ?? env['HOLDFAST_TO']),
    ...(port !== undefined && { port: Number(port) }),
    ...(host !== undefined && { host }),
    ...(policy !== undefined && { policy: policy as BalancerPolicy }),
    ...(cookie !== undefined && { cookie }),
    ...(health !== undefined && { health }),
  }
  return { config: write(options, flags), check: flags.isOn('check') }
}

function listOf(given: unknown): string[] {
  const all = Array.isArray(given) ? given : [given]
  return all
    .flatMap((one) => (typeof one === 'string' ? one.split(',') : []))
    .map((one) => one.trim())
    .filter((one) => one !== '')
}

function nginxForm(version: string | undefined): 'map' | 'sticky' {
  if (version === undefined) return 'map'
  const parts = /^(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?$/
    .exec(version)
    ?.slice(1)
    .map((part) => Number(part ?? 0))
  if (parts === undefined) throw new Error('--nginx-version: give a version such as 1.22.1.')
  const [major = 0, minor = 0, patch = 0] = parts
  return major > 1 || (major === 1 && (minor > 29 || (minor === 29 && patch >= 6))) ? 'sticky' : 'map'
}

async function checked(name: string, config: string): Promise<number> {
  const validator = VALIDATORS[name]
  const verdict = validator === undefined ? undefined : await validate(validator, config)
  const program = validator?.program ?? name
  if (verdict?.outcome === 'invalid') throw new Error(`${program} refuses this configuration: ${verdict.why}`)
  if (verdict === undefined) tell(`${name} has no validator of its own: not checked.`)
  else if (verdict.outcome === 'missing') tell(`${program} is not installed here: not checked.`)
  else tell(`${program} accepts this configuration.`)
  return 0
}

function tell(line: string): void {
  process.stderr.write(`holdfast: ${line}\n`)
}
