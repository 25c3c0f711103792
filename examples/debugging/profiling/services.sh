# Prints a namespace with Services that no pod of this example calls.
# Usage: bash services.sh NAMESPACE NUMBER | kubectl apply -f -
echo "{apiVersion: v1, kind: Namespace, metadata: {name: $1}}"
for number in $(seq "$2"); do
  echo ---
  echo "{apiVersion: v1, kind: Service, metadata: {name: s$number, namespace: $1}, spec:"
  echo "  {selector: {app: none}, ports: [{name: http, port: 80}, {name: tcp, port: 5432}]}}"
done
