/** Kubernetes manifests: servers that find each other by name, and an ingress in front. */
import { SessionError } from '../errors.ts'
import { type BalancerOptions, planOf } from './options.ts'

/** `to` names one application, by the name of its service: `http://app:3000`. */
export function kubernetesConfig(options: BalancerOptions): string {
  const plan = planOf(options)
  const [server] = plan.servers
  const name = server?.host.toLowerCase() ?? ''
  if (plan.servers.length !== 1 || server === undefined || !/^[a-z]([a-z0-9-]{0,48}[a-z0-9])?$/.test(name)) {
    throw new SessionError('CONFIG_INVALID', 'balancer: for kubernetes give one --to, the name of the service: http://app:3000.')
  }
  if (plan.policy === 'hash' || plan.policy === 'least-connections') {
    throw new SessionError('CONFIG_INVALID', 'balancer: for kubernetes use the policy affinity or round-robin.')
  }
  const health = plan.health ?? '/health'
  return `# ${name} on Kubernetes, behind ingress-nginx: ${plan.policy}. Made by: holdfast balancer kubernetes
# Set image, host and replicas to yours. The servers' own links: tcpTransport({ cluster, secrets, peers: { dns: '${name}-mesh', port: 7946 } })
apiVersion: v1
kind: Service
metadata: { name: ${name}-mesh }
spec:
  # All pods by name, those that are not ready yet too: a server joins before it takes visitors.
  clusterIP: None
  publishNotReadyAddresses: true
  selector: { app: ${name} }
  ports: [{ name: mesh, port: 7946 }]
---
apiVersion: v1
kind: Service
metadata: { name: ${name} }
spec:
  selector: { app: ${name} }
  ports: [{ name: http, port: ${plan.port}, targetPort: ${server.port} }]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: { name: ${name} }
spec:
  serviceName: ${name}-mesh
  replicas: 3
  # One server at a time: each hands its sessions over before the next leaves.
  updateStrategy: { type: RollingUpdate }
  selector: { matchLabels: { app: ${name} } }
  template:
    metadata: { labels: { app: ${name} } }
    spec:
      # SIGTERM drains: sessions move to other servers. Then the process ends by itself.
      terminationGracePeriodSeconds: 30
      containers:
        - name: ${name}
          image: ${name}:latest
          env:
            - { name: NODE_NAME, valueFrom: { fieldRef: { fieldPath: metadata.name } } }  # createSessions({ node: process.env.NODE_NAME })
            - { name: SESSION_SECRET, valueFrom: { secretKeyRef: { name: ${name}, key: session-secret } } }
          ports: [{ containerPort: ${server.port} }, { containerPort: 7946 }]
          readinessProbe: { httpGet: { path: "${health}", port: ${server.port} }, periodSeconds: 1, failureThreshold: 1 }
          # The ingress learns of a leaving pod a moment later than the pod: it goes on answering meanwhile.
          lifecycle: { preStop: { exec: { command: ["sleep", "5"] } } }
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: { name: ${name} }
spec:
  maxUnavailable: 1
  selector: { matchLabels: { app: ${name} } }
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: ${name}
  annotations:
    nginx.ingress.kubernetes.io/proxy-connect-timeout: "1"
    nginx.ingress.kubernetes.io/proxy-next-upstream: "error timeout"
${plan.policy === 'affinity' ? STICKY : ''}spec:
  ingressClassName: nginx
  rules:
    - host: ${name}.example.com
      http: { paths: [{ path: /, pathType: Prefix, backend: { service: { name: ${name}, port: { name: http } } } }] }
`
}

/** ingress-nginx makes up its own names for pods: it cannot be told, so it keeps a cookie of its own beside ours. */
const STICKY = `    # A cookie of the ingress's own keeps each visitor at a pod: affinity({ transport, route: () => undefined }).
    # After the pod's death any other fetches the session from the backup, and the ingress stays with that one.
    nginx.ingress.kubernetes.io/affinity: "cookie"
    nginx.ingress.kubernetes.io/affinity-mode: "persistent"
    nginx.ingress.kubernetes.io/session-cookie-name: "ingress-route"
    nginx.ingress.kubernetes.io/session-cookie-change-on-failure: "true"
    nginx.ingress.kubernetes.io/session-cookie-samesite: "Lax"
`
